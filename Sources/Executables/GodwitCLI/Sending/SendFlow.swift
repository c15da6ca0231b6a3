import APNSWire
import Foundation
import NIOCore

/// The work of `godwit send`: hands the pushes over, then asks what became of them.
///
/// Memory stays bounded by 16 bytes an accepted push, whatever the length of the input.
struct SendFlow {
    let gateway: GatewayAPI
    let source: PushSource
    /// How long verdicts are waited for after the last push was accepted; nil: not at all.
    let waitLimit: Duration?
    /// Gets the result lines as the gateway wrote them.
    let results: ResultFile?
    /// What the keys of the chunks begin with; nil: all pushes in one request without a key.
    let idempotencyKey: String?
    private var bar: ProgressBar
    private let startedAt = ContinuousClock.now
    private var pending = PendingPushes()
    private(set) var summary = SendSummary()
    /// The last push that got an id and the last that did not: what there is to tell of a single push.
    private(set) var lastID: APNSID?
    private(set) var lastRefusal: ResponseLine?
    private var lastAnswer: ResponseLine?

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

    /// - Throws: nothing that the gateway or the network did: that becomes `summary.failure`, so that what was accepted
    ///   before it is still told. Only what is wrong on this side, as a results file that cannot be written.
    mutating func run() async throws {
        do {
            try await accept()
            let stop = stopNotice
            bar.clear()
            for line in summary.delayedLines { Terminal.note(line) }
            if waitLimit != nil { try await settle() }
            // What was not even read matters more than what is not settled yet.
            if let stop { summary.failure = stop }
        } catch {
            summary.failure = GatewayFailure(error, url: gateway.url).description
        }
        summary.count(pending.count, state: "unsettled")
        bar.clear()
        try results?.close()
    }

    /// Codes with which a gateway ends its reading in the middle of a request: no room, store down, stopping, overloaded.
    private static let stopCodes: Set<Int> = [3019, 3020, 3021, 3028]

    /// What to say when the gateway has not read to the end.
    private var stopNotice: String? {
        // Where each push has an answer of its own, nothing was left unread.
        guard !source.isEachLine(answeredBy: summary.answered), summary.answered > 1, let last = lastAnswer,
            last.state == "refused", Self.stopCodes.contains(last.code)
        else { return nil }
        return """
            the gateway took nothing from push \(summary.answered.grouped) on, counted from 1: \(last.detail); \
            send the rest of the file again
            """
    }

    private mutating func accept() async throws {
        // The closure cannot hold `self`, which is being changed; it works on copies that are put back.
        var (summary, pending, bar) = (summary, pending, bar)
        defer { (self.summary, self.pending, self.bar) = (summary, pending, bar) }
        let isWaiting = waitLimit != nil
        func take(_ bytes: ArraySlice<UInt8>) throws {
            let line = try ResponseLine(bytes)
            // A push that may have been accepted is asked for like the others.
            let isAskedFor = line.id != nil && isWaiting
            lastAnswer = line
            summary.countAnswer(line, isAskedFor: isAskedFor)
            if let id = line.id {
                if isAskedFor { pending.append(id) }
                lastID = id
            } else {
                lastRefusal = line
            }
            if !isAskedFor { try results?.write(bytes) }
            summary.acceptTime = ContinuousClock.now - startedAt
            bar.show(acceptProgress(summary))
        }
        if let idempotencyKey {
            var chunks = LineChunks()
            var number = 0
            func send(_ chunk: [UInt8]) async throws {
                number += 1
                try await gateway.sendBatch(
                    chunk, idempotencyKey: "\(idempotencyKey)-\(number)", requestID: idempotencyKey, onLine: take
                )
            }
            for try await bytes in source {
                chunks.append(bytes.readableBytesView)
                while let chunk = try chunks.next() { try await send(chunk) }
            }
            if let chunk = chunks.last() { try await send(chunk) }
        } else {
            try await gateway.sendBatch(source, onLine: take)
        }
        summary.acceptTime = ContinuousClock.now - startedAt
    }

    private func acceptProgress(_ summary: SendSummary) -> WorkProgress {
        WorkProgress(
            phase: "accepting", fraction: source.sizeBytes.map { Double(source.bytesRead) / Double(max(1, $0)) },
            count: summary.answered, elapsed: summary.acceptTime
        )
    }

    /// Asks until every push has its verdict, or only such are left whose time has not come.
    private mutating func settle() async throws {
        let deadline = ContinuousClock.now + (waitLimit ?? .zero)
        var pause = Duration.milliseconds(20)
        while !pending.isEmpty {
            let settled = try await askForNext()
            if settled > 0 {
                pause = .milliseconds(20)
                summary.settleTime = ContinuousClock.now - startedAt
                continue
            }
            if pending.isAllScheduled { break }
            guard ContinuousClock.now < deadline else {
                summary.failure = "\(pending.count.grouped) pushes have no verdict yet; ask again with godwit status"
                break
            }
            try await Task.sleep(for: pause)
            // A whole round without news: the gateway waits for something, so there is no hurry.
            if pending.isIdle { pause = min(pause * 2, .seconds(1)) }
        }
        if pending.isAllScheduled {
            summary.count(pending.count, state: "scheduled")
            pending = PendingPushes()
        }
    }

    private mutating func askForNext() async throws -> Int {
        let asked = pending.take(upTo: GatewayAPI.idsPerQuery)
        var unsettled: [APNSID] = []
        var (scheduled, settled, answered) = (0, 0, 0)
        // The closure cannot hold `self`, which is being changed.
        var summary = summary
        do {
            try await gateway.query(asked) { bytes in
                let line = try ResponseLine(bytes)
                guard answered < asked.count else { return }
                if line.isSettled {
                    settled += 1
                    summary.count(line)
                    try results?.write(bytes)
                } else {
                    unsettled.append(asked[answered])
                    if line.state == "scheduled" { scheduled += 1 }
                }
                answered += 1
            }
            unsettled += asked[answered...]
        } catch {
            pending.putBack(asked, scheduled: 0, settled: 0)
            throw error
        }
        self.summary = summary
        pending.putBack(unsettled, scheduled: scheduled, settled: settled)
        let total = max(summary.answered - summary.refused, pending.count)
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

/// The file of result lines.
final class ResultFile {
    private let path: String
    private let file: FileHandle
    private var buffer: [UInt8] = []

    /// - Throws: `GatewayFailure` when the file cannot be written.
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
