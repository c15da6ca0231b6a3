import APNSWire
import Foundation
import JSONText
import NIOCore

/// The work of `godwit send`: sends the pushes, then polls their states until each has a verdict.
///
/// Memory is bounded by 32 bytes per accepted push, and 12 per push that was read and has no result, independent of the
/// length of the input. Used by one task.
final class SendFlow {
    /// A push and the last line of the gateway about it.
    struct Result {
        var id: APNSID?
        var line: PushLine
        var response: ResponseLine

        /// As a line of the results file.
        var json: [UInt8] {
            var json: [UInt8] = [UInt8(ascii: "{")]
            if let id { json += "\"msg_id\":\"\(id)\",".utf8 }
            json += "\"state\":\"\(response.state)\",\"code\":\(response.code)".utf8
            for (name, value) in [("reason", response.reason), ("detail", response.detail)] where !value.isEmpty {
                json += ",\"\(name)\":".utf8
                JSONWriter.appendString(value, to: &json)
            }
            json.append(UInt8(ascii: "}"))
            return ResultLine.bytes(json[...], index: Int(line.number) - 1, push: line, isFile: false)
        }
    }

    let gateway: GatewayAPI
    let source: PushSource
    /// Whether `source` is a file or standard input, whose lines the user knows.
    let isFile: Bool
    /// How long to wait for verdicts after the last push was accepted; nil: do not wait.
    let waitLimit: Duration?
    /// Receives a line for each push: its verdict, or the last that is known of it.
    let results: ResultFile?
    /// Prefix of the keys of the chunks; nil: send all pushes in one request without a key.
    let idempotencyKey: String?
    private var bar: ProgressBar
    private let startedAt = ContinuousClock.now
    private var pending = PendingPushes()
    private(set) var summary = SendSummary()
    /// Of a file, the first refused pushes. Of flags, the result of each push.
    private(set) var details: [Result] = []
    /// The first accepted pushes whose verdict is not known at the end.
    private(set) var unsettled: [SentPush] = []
    /// Whether the same command may succeed later. Meaningless without `summary.failure`.
    private(set) var isRepeatable = true
    /// The line of the last push with a result, counted from 1; 0: no push has one.
    private(set) var lastLine = 0
    /// Whether the gateway reported that it accepted nothing after that line.
    private(set) var isRestUnread = false
    /// Whether the task was cancelled.
    private(set) var isInterrupted = false
    private var lastResponse: ResponseLine?

    /// The pushes of each kind that are listed one by one.
    static let listedMax = 20

    init(
        gateway: GatewayAPI, source: PushSource, isFile: Bool, waitLimit: Duration?, results: ResultFile?,
        idempotencyKey: String?
    ) {
        self.gateway = gateway
        self.source = source
        self.isFile = isFile
        self.waitLimit = waitLimit
        self.results = results
        self.idempotencyKey = idempotencyKey
        bar = ProgressBar(isQuiet: !isFile)
    }

    /// Sends the pushes and waits for their verdicts.
    ///
    /// Failures of the gateway and the network, and the cancellation of the task, become `summary.failure`, so that the
    /// caller can still report the pushes accepted before.
    ///
    /// - Throws: local errors, such as a results file that cannot be written.
    func run() async throws {
        do {
            try await accept()
            let stopNotice = stopNotice
            bar.clear()
            for line in summary.delayedLines { Terminal.writeError(line) }
            if waitLimit != nil { try await waitForVerdicts() }
            // Unread pushes matter more than pushes without a verdict.
            if let stopNotice {
                summary.failure = stopNotice
                isRestUnread = true
            }
        } catch {
            let failure = GatewayFailure(error, url: gateway.url)
            isInterrupted = Task.isCancelled
            summary.failure = isInterrupted ? "interrupted" : failure.description
            isRepeatable = isInterrupted || failure.isTemporary
            // The gateway refused the request as a whole.
            isRestUnread = failure.status.map { (400..<500).contains($0) } ?? false
        }
        bar.clear()
        if !isComplete { summary.input = source.count.map { .partial(of: $0) } ?? .unread }
        try end(pending, as: "waiting")
        try results?.close()
    }

    /// Whether every push of the input has a result.
    var isComplete: Bool { source.isComplete(lines: summary.results) }

    /// Codes with which a gateway stops reading a request: disk full, store unavailable, stopping, overloaded.
    private static let stopCodes: Set<Int> = [3019, 3020, 3021, 3028]

    /// The failure to report if the gateway did not read the whole input.
    private var stopNotice: String? {
        // If each push has a result, everything was read.
        guard !isComplete, summary.results > 1, let last = lastResponse, last.state == "refused",
            Self.stopCodes.contains(last.code)
        else { return nil }
        // That push was not accepted, so it is sent again.
        lastLine -= 1
        return "the gateway stopped reading at line \((lastLine + 1).grouped): \(last.detail)"
    }

    // MARK: Acceptance

    private func accept() async throws {
        if let idempotencyKey {
            var chunks = LineChunks()
            var number = 0
            func send(_ chunk: [UInt8]) async throws {
                number += 1
                let isStored = try await gateway.sendBatch(
                    chunk, idempotencyKey: "\(idempotencyKey)-\(number)", requestID: idempotencyKey, onLine: accepted
                )
                summary.countChunk(isStored: isStored)
            }
            for try await bytes in source {
                chunks.append(bytes.readableBytesView)
                while let chunk = try chunks.next() { try await send(chunk) }
            }
            if let chunk = chunks.last() { try await send(chunk) }
        } else {
            try await gateway.sendBatch(source, onLine: accepted)
        }
        summary.acceptTime = ContinuousClock.now - startedAt
    }

    /// Handles the result of the next push.
    private func accepted(_ bytes: ArraySlice<UInt8>) throws {
        let response = try ResponseLine(bytes)
        let index = summary.results
        let line = source.nextLine() ?? PushLine(number: lastLine + 1, token: "")
        // A push whose acceptance is unknown has an ID and is polled as well.
        let isPolled = response.id != nil && waitLimit != nil
        lastLine = Int(line.number)
        lastResponse = response
        summary.countResponse(response, of: line, isPolled: isPolled)
        if let id = response.id, isPolled { pending.append(SentPush(id: id, index: index, line: line)) }
        if !isPolled {
            keep(Result(id: response.id, line: line, response: response))
            try results?.write(ResultLine.bytes(bytes, index: index, push: line, isFile: isFile))
        }
        summary.acceptTime = ContinuousClock.now - startedAt
        bar.show(
            WorkProgress(
                phase: "accepting", fraction: source.sizeBytes.map { Double(source.bytesRead) / Double(max(1, $0)) },
                count: summary.results, elapsed: summary.acceptTime
            )
        )
    }

    private func keep(_ result: Result) {
        if !isFile || result.response.state == "refused" && details.count < Self.listedMax { details.append(result) }
    }

    // MARK: Verdicts

    /// Polls until every push has a verdict, or only scheduled pushes are left.
    private func waitForVerdicts() async throws {
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
        if pending.isAllScheduled { try end(pending, as: "scheduled") }
    }

    private func pollNext() async throws -> Int {
        let pushes = pending.removeFirst(upTo: GatewayAPI.idsPerRequestMax)
        var waiting: [SentPush] = []
        var (scheduled, settled, index) = (0, 0, 0)
        do {
            try await gateway.query(pushes.map(\.id)) { bytes in
                let response = try ResponseLine(bytes)
                guard index < pushes.count else { return }
                let push = pushes[index]
                index += 1
                guard response.isSettled else {
                    waiting.append(push)
                    if response.state == "scheduled" { scheduled += 1 }
                    return
                }
                settled += 1
                summary.count(response)
                keep(Result(id: push.id, line: push.line, response: response))
                try results?.write(
                    ResultLine.bytes(bytes, index: Int(push.index), push: push.line, isFile: isFile))
            }
        } catch {
            pending.requeue(waiting + pushes[index...], scheduled: 0, settled: settled)
            throw error
        }
        pending.requeue(waiting + pushes[index...], scheduled: scheduled, settled: settled)
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

    /// Reports pushes that are accepted and have no verdict.
    private func end(_ pushes: PendingPushes, as state: String) throws {
        var pushes = pushes
        pending = PendingPushes()
        summary.count(pushes.count, state: state)
        while !pushes.isEmpty {
            for push in pushes.removeFirst(upTo: 1000) {
                if state == "waiting", unsettled.count < Self.listedMax { unsettled.append(push) }
                keep(Result(id: push.id, line: push.line, response: ResponseLine(state: state)))
                try results?.write(ResultLine.bytes(push, state: state, isFile: isFile))
            }
        }
    }
}
