import HTTPTypes
import NIOCore
import PushModel
import PushStore

/// A bulk request with an `Idempotency-Key`: read whole, stored by one write together with its answer.
///
/// So a crash leaves all of it or none, and the answer is remembered exactly when the pushes are there.
struct IdempotentBulkRequest {
    /// Pieces in which the body is worked on, so that too many results are noticed early.
    private static let stepBytes = 64 * 1024

    let machine: BulkStateMachine
    let format: BodyFormat
    let committer: BatchCommitter
    let configuration: AcceptConfiguration
    let metrics: AcceptMetrics

    /// Takes the pushes of `body`.
    ///
    /// - Throws: 400 when it holds none, 413 when the answer would be too large, 503 when the store does not take them.
    func serve(_ body: ByteBuffer, as request: IdempotentRequest) async throws -> StoredResponse {
        var machine = self.machine
        var body = body
        while let step = body.readSlice(length: min(Self.stepBytes, body.readableBytes)), step.readableBytes > 0 {
            step.withUnsafeReadableBytes { machine.received($0) }
        }
        machine.ended(isCutOff: false)
        if machine.results.itemCount == 0 {
            try BulkRoute.refuseEmptyBody(machine.ending, format)
        }
        let submission = machine.nextSubmission(isIdle: true, now: committer.now)
        // Remembered, they would stay refused whenever the request comes again.
        if let problem = machine.anyOverload { throw giveUp(submission, problem) }
        if machine.stop != nil { throw giveUp(submission, Self.tooManyResults) }

        let delays = (submission?.batches ?? []).map { committer.delay(of: $0.app) }
        if let submission { machine.committed(submission, error: nil, delays: delays) }
        let answer = StoredResponse(
            form: format == .lines ? .lines : .array, pieces: machine.takeResults(itemsMax: .max)
        )
        let refused = machine.takeRefusedCounts()
        if let submission {
            let stored = request.storing(answer, at: committer.now)
            guard stored.body.count <= StoredResponse.bytesMax else {
                throw giveUp(submission, Self.tooManyResults)
            }
            if let error = await committer.commit(submission.batches, storing: [request.key: stored]) {
                let pushes = submission.batches.reduce(0) { $0 + $1.count }
                if error.isOutcomeUnknown { metrics.outcomeUnknown(pushes: pushes) }
                throw Problem(keyed: error, pushID: nil, retryAfter: configuration.retryAfterSeconds)
                    .refusing(machine.results.itemCount)
            }
        }
        for (code, count) in refused { metrics.refused(code, pushes: count) }
        return answer
    }

    private func giveUp(_ submission: BulkStateMachine.Submission?, _ problem: Problem) -> Problem {
        for batch in submission?.batches ?? [] { committer.forget(batch) }
        return problem
    }

    private static let tooManyResults = Problem(
        .contentTooLarge, .itemTooLarge,
        "too many items would be refused for one answer that is remembered; correct them, or split the request"
    )
}
