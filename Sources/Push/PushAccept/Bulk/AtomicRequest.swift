import HTTPTypes
import NIOCore
import PushModel
import PushStore

/// A request that is read completely and stored in one write: a bulk request with an `Idempotency-Key`, and one push to
/// many devices.
///
/// So a crash leaves all of the request or nothing, and the response is stored exactly when the pushes are.
struct AtomicRequest {
    enum Content {
        /// The items of a bulk request.
        case items
        /// One push with `device_tokens`.
        case push
    }

    /// The body is parsed in chunks of this size, so that too many results are detected early.
    private static let chunkBytes = 64 * 1024

    let machine: BulkStateMachine
    let content: Content
    let format: BodyFormat
    let committer: BatchCommitter
    let configuration: AcceptConfiguration
    let metrics: AcceptMetrics

    /// Stores the pushes of `body`.
    ///
    /// - Parameter request: nil for a request without an `Idempotency-Key`.
    /// - Throws: 400 if there are none, 413 if the response would be too large, 503 if an app is refused by admission
    ///   control or the store fails.
    func serve(_ body: ByteBuffer, as request: IdempotentRequest?) async throws(Problem) -> StoredResponse {
        var machine = self.machine
        read(body, into: &machine)
        if machine.results.itemCount == 0 {
            try BulkRoute.refuseEmptyBody(machine.ending, format)
        }
        let submission = machine.nextSubmission(isIdle: true, now: committer.now)
        // A stored refusal would be replayed to every later attempt.
        if let problem = machine.overloadOfAnyItem { throw discard(submission, problem) }
        if machine.stop != nil { throw discard(submission, Self.tooManyResults) }

        let delays = (submission?.batches ?? []).map { committer.delay(of: $0) }
        if let submission { machine.committed(submission, error: nil, delays: delays) }
        let response = StoredResponse(
            format: format == .lines ? .lines : .array, runs: machine.removeKnownResults(itemsMax: .max)
        )
        let refused = machine.takeRefusedCounts()
        if let submission {
            var records: [IdempotencyKey: IdempotencyRecord] = [:]
            if let request {
                let record = request.record(of: response, at: committer.now)
                guard record.body.count <= StoredResponse.bytesMax else {
                    throw discard(submission, Self.tooManyResults)
                }
                records[request.key] = record
            }
            if let error = await committer.commit(submission.batches, storing: records) {
                throw problem(error, of: submission, request).refusing(machine.results.resultCount)
            }
        }
        for (code, count) in refused { metrics.refused(code, pushes: count) }
        return response
    }

    private func read(_ body: ByteBuffer, into machine: inout BulkStateMachine) {
        let now = committer.now
        switch content {
        case .push: body.withUnsafeReadableBytes { machine.receivedPush($0, now: now) }
        case .items:
            var body = body
            while let chunk = body.readSlice(length: min(Self.chunkBytes, body.readableBytes)), chunk.readableBytes > 0
            {
                chunk.withUnsafeReadableBytes { machine.received($0, now: now) }
            }
            machine.ended(isCutOff: false, now: now)
        }
    }

    private func problem(
        _ error: QueueError, of submission: BulkStateMachine.Submission, _ request: IdempotentRequest?
    ) -> Problem {
        if error.isOutcomeUnknown { metrics.outcomeUnknown(pushes: submission.batches.reduce(0) { $0 + $1.count }) }
        let retryAfter = configuration.retryAfterSeconds
        return request == nil
            ? Problem(error, pushID: submission.batches.first?.id.push(0), retryAfter: retryAfter)
            : Problem(idempotent: error, pushID: nil, retryAfter: retryAfter)
    }

    private func discard(_ submission: BulkStateMachine.Submission?, _ problem: Problem) -> Problem {
        for batch in submission?.batches ?? [] { committer.discard(batch) }
        return problem
    }

    private static let tooManyResults = Problem(
        .contentTooLarge, .itemTooLarge,
        "too many refused items for one stored response; correct them, or split the request"
    )
}
