import APNSWire
import Foundation
import NIOCore

/// The work of `godwit send`: sends the pushes, then polls their states until each has a verdict.
///
/// Memory is bounded by 16 bytes per accepted push, independent of the length of the input.
struct SendFlow {
    let gateway: GatewayAPI
    let source: PushSource
    /// How long to wait for verdicts after the last push was accepted; nil: do not wait.
    let waitLimit: Duration?
    /// Receives the gateway's result lines unchanged.
    let results: ResultFile?
    /// Prefix of the keys of the chunks; nil: send all pushes in one request without a key.
    let idempotencyKey: String?
    private var bar: ProgressBar
    private let startedAt = ContinuousClock.now
    private var pending = PendingPushes()
    private(set) var summary = SendSummary()
    /// The last push that received an ID and the last one that was refused; used to report a single push.
    private(set) var lastID: APNSID?
    private(set) var lastRefusal: ResponseLine?
    /// Whether the same command may succeed later. Meaningless without `summary.failure`.
    private(set) var isRepeatable = true
    private var lastLine: ResponseLine?

    init(
        gateway: GatewayAPI, source: PushSource, waitLimit: Duration?, results: ResultFile?, idempotencyKey: String?,
        isQuiet: Bool
    ) {
        self.gateway = gateway
        self.source = source
        self.waitLimit = waitLimit
        self.results = results
        self.idempotencyKey = idempotencyKey
        bar = ProgressBar(isQuiet: isQuiet)
    }

    /// Sends the pushes and waits for their verdicts.
    ///
    /// Failures of the gateway and the network become `summary.failure`, so that the caller can still report the pushes
    /// accepted before.
    ///
    /// - Throws: local errors, such as a results file that cannot be written.
    mutating func run() async throws {
        do {
            try await accept()
            let stopNotice = stopNotice
            bar.clear()
            for line in summary.delayedLines { Terminal.writeError(line) }
            if waitLimit != nil { try await waitForVerdicts() }
            // Unread pushes matter more than pushes without a verdict.
            if let stopNotice { summary.failure = stopNotice }
        } catch {
            let failure = GatewayFailure(error, url: gateway.url)
            summary.failure = failure.description
            isRepeatable = failure.isTemporary
        }
        summary.count(pending.count, state: "waiting")
        bar.clear()
        try results?.close()
    }

    /// Codes with which a gateway stops reading a request: disk full, store unavailable, stopping, overloaded.
    private static let stopCodes: Set<Int> = [3019, 3020, 3021, 3028]

    /// The failure to report if the gateway did not read the whole input.
    private var stopNotice: String? {
        // If each push has a result, everything was read.
        guard !source.isComplete(lines: summary.results), summary.results > 1, let last = lastLine,
            last.state == "refused", Self.stopCodes.contains(last.code)
        else { return nil }
        return """
            the gateway stopped reading at push \(summary.results.grouped), counted from 1: \(last.detail); \
            send the file again from there
            """
    }

    private mutating func accept() async throws {
        // The closure cannot capture the mutating `self`; it works on copies, which are stored back.
        var (summary, pending, bar) = (summary, pending, bar)
        defer { (self.summary, self.pending, self.bar) = (summary, pending, bar) }
        let isWaiting = waitLimit != nil
        func handleLine(_ bytes: ArraySlice<UInt8>) throws {
            let line = try ResponseLine(bytes)
            // A push whose acceptance is unknown has an ID and is polled as well.
            let isPolled = line.id != nil && isWaiting
            lastLine = line
            summary.countResponse(line, isPolled: isPolled)
            if let id = line.id {
                if isPolled { pending.append(id) }
                lastID = id
            } else {
                lastRefusal = line
            }
            if !isPolled { try results?.write(bytes) }
            summary.acceptTime = ContinuousClock.now - startedAt
            bar.show(acceptProgress(summary))
        }
        if let idempotencyKey {
            var chunks = LineChunks()
            var number = 0
            func send(_ chunk: [UInt8]) async throws {
                number += 1
                let isStored = try await gateway.sendBatch(
                    chunk, idempotencyKey: "\(idempotencyKey)-\(number)", requestID: idempotencyKey, onLine: handleLine
                )
                summary.countChunk(isStored: isStored)
            }
            for try await bytes in source {
                chunks.append(bytes.readableBytesView)
                while let chunk = try chunks.next() { try await send(chunk) }
            }
            if let chunk = chunks.last() { try await send(chunk) }
        } else {
            try await gateway.sendBatch(source, onLine: handleLine)
        }
        summary.acceptTime = ContinuousClock.now - startedAt
    }

    private func acceptProgress(_ summary: SendSummary) -> WorkProgress {
        WorkProgress(
            phase: "accepting", fraction: source.sizeBytes.map { Double(source.bytesRead) / Double(max(1, $0)) },
            count: summary.results, elapsed: summary.acceptTime
        )
    }

    /// Polls until every push has a verdict, or only scheduled pushes are left.
    private mutating func waitForVerdicts() async throws {
        let deadline = ContinuousClock.now + (waitLimit ?? .zero)
        var pause = Duration.milliseconds(20)
        while !pending.isEmpty {
            let settled = try await pollNext()
            if settled > 0 {
                pause = .milliseconds(20)
                summary.settleTime = ContinuousClock.now - startedAt
                continue
            }
            if pending.isAllScheduled { break }
            guard ContinuousClock.now < deadline else {
                summary.failure = SendSummary.noVerdict(pending.count)
                break
            }
            try await Task.sleep(for: pause)
            // A whole round without a verdict: poll less often.
            if pending.isIdle { pause = min(pause * 2, .seconds(1)) }
        }
        if pending.isAllScheduled {
            summary.count(pending.count, state: "scheduled")
            pending = PendingPushes()
        }
    }

    private mutating func pollNext() async throws -> Int {
        let ids = pending.removeFirst(upTo: GatewayAPI.idsPerRequestMax)
        var unsettled: [APNSID] = []
        var (scheduled, settled, index) = (0, 0, 0)
        // The closure cannot capture the mutating `self`.
        var summary = summary
        do {
            try await gateway.query(ids) { bytes in
                let line = try ResponseLine(bytes)
                guard index < ids.count else { return }
                if line.isSettled {
                    settled += 1
                    summary.count(line)
                    try results?.write(bytes)
                } else {
                    unsettled.append(ids[index])
                    if line.state == "scheduled" { scheduled += 1 }
                }
                index += 1
            }
            unsettled += ids[index...]
        } catch {
            pending.requeue(ids, scheduled: 0, settled: 0)
            throw error
        }
        self.summary = summary
        pending.requeue(unsettled, scheduled: scheduled, settled: settled)
        let total = max(summary.results - summary.refused, pending.count)
        let done = total - pending.count
        let elapsed = ContinuousClock.now - startedAt
        bar.show(
            WorkProgress(
                phase: "delivering", fraction: Double(done) / Double(max(1, total)), count: done, elapsed: elapsed
            )
        )
        return settled
    }
}

/// A file of result lines.
final class ResultFile {
    private let path: String
    private let file: FileHandle
    private var buffer: [UInt8] = []

    /// - Throws: `GatewayFailure` if the file cannot be written.
    init(path: String) throws {
        self.path = path
        guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path)
        else { throw GatewayFailure(description: "\(path) cannot be written") }
        self.file = file
    }

    func write(_ line: ArraySlice<UInt8>) throws {
        buffer += line
        buffer.append(UInt8(ascii: "\n"))
        if buffer.count >= 64 * 1024 { try flush() }
    }

    func close() throws {
        try flush()
        try file.close()
    }

    private func flush() throws {
        do {
            try file.write(contentsOf: buffer)
        } catch {
            throw GatewayFailure(description: "\(path) cannot be written")
        }
        buffer = []
    }
}
