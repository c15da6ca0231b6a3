import Hummingbird
import JSONText
import NIOCore
import PushModel
import PushStore

/// `POST /push/batch`: an array or a stream of pushes, with one result per item.
///
/// Until the first write to the store is finished, the request can still be refused as a whole. After that the response
/// is a stream: durable pushes are acknowledged immediately, while the rest is still being read.
struct BulkRoute: Sendable {
    let apps: AppDirectory
    let committer: BatchCommitter
    let idempotency: Idempotency?
    let bufferedBodies: BufferedBodyReader
    let admission: AdmissionController
    let devices: DeviceLimiter?
    let held: HeldBytes
    let configuration: AcceptConfiguration
    let metrics: AcceptMetrics
    let stopFlag: StopFlag

    func respond(to request: Request, _ context: AcceptContext) async throws -> Response {
        let format = try BodyFormat(of: request.headers, linesAllowed: true)
        let machine = BulkStateMachine(
            apps: apps, format: format == .lines ? .lines : .array, configuration: configuration,
            traceparent: Self.traceparent(of: request),
            requestID: context.head.caller.scoped(requestID: context.requestID), admission: admission,
            devices: devices, strict: try StrictOption.value(inQuery: request.uri.query),
            newID: { [committer] in committer.newBatchID() }
        )
        if let key = try IdempotencyKeyField.value(in: request.headers) {
            return try await respond(to: request, context.head, key: key, machine, format)
        }
        let session = BulkSession(
            machine: machine, committer: committer, held: held, commitsMax: configuration.appendsPerRequestMax,
            metrics: metrics
        )
        let input = RequestInput(request)
        let isComplete = await readUntilFirstCommit(input, session)
        if stopFlag.isSet {
            session.discardUnsubmitted()
            throw Problem(stopping: configuration.retryAfterSeconds)
        }
        if isComplete, session.itemCount == 0 { try Self.refuseEmptyBody(session.ending, format) }
        if isComplete, let problem = session.overloadOfAllItems { throw problem }
        if let first = session.startCommit(), let error = await session.commit(first), !error.isOutcomeUnknown {
            session.discardUnsubmitted()
            throw Problem(error, pushID: nil, retryAfter: configuration.retryAfterSeconds)
                .refusing(session.itemCount)
        }
        return isComplete ? await wholeResponse(session, format) : streamedResponse(session, input, format)
    }

    // MARK: With an Idempotency-Key

    private func respond(
        to request: Request, _ head: RequestHead, key: String, _ machine: BulkStateMachine, _ format: BodyFormat
    ) async throws -> Response {
        guard let idempotency else { throw Problem.cannotStoreResponse }
        let bulk = AtomicRequest(
            machine: machine, content: .items, format: format, committer: committer, configuration: configuration,
            metrics: metrics
        )
        return try await bufferedBodies.withBody(of: RequestInput(request)) { body in
            if stopFlag.isSet { throw Problem(stopping: configuration.retryAfterSeconds) }
            let idempotentRequest = IdempotentRequest(key, route: .batch, caller: head.caller, body: body)
            return try await idempotency.respond(to: idempotentRequest) {
                try await bulk.serve(body, as: idempotentRequest)
            }
        }
    }

    // MARK: Before the first commit

    /// Reads until there is a batch to commit, or a page of refused items.
    ///
    /// - Returns: whether the body is complete.
    private func readUntilFirstCommit(_ input: RequestInput, _ session: BulkSession) async -> Bool {
        while true {
            guard await read(from: input, into: session) else { return true }
            guard session.wantsInput else {
                session.end(isCutOff: false)
                return true
            }
            // Reading the end of a body of known length does not wait, and a small request then gets one whole
            // response.
            if session.hasWork, !input.isComplete { return false }
            if session.itemCount >= BulkSession.pageItems { return false }
        }
    }

    /// Reads one chunk of the body.
    ///
    /// - Returns: false at the end of the body.
    private func read(from input: RequestInput, into session: BulkSession) async -> Bool {
        do {
            guard let chunk = try await input.next() else {
                session.end(isCutOff: false)
                return false
            }
            session.receive(chunk)
            return true
        } catch {
            session.end(isCutOff: true)
            return false
        }
    }

    /// - Throws: 400 for a body without items, unless it is an empty array.
    static func refuseEmptyBody(_ ending: ItemFramer.Ending, _ format: BodyFormat) throws(Problem) {
        if ending == .notAnArray {
            throw Problem(
                .badRequest, .invalidJSON,
                "the body is not a JSON array; send one push per line with Content-Type: application/x-ndjson"
            )
        }
        if format == .lines { throw Problem(.badRequest, .invalidJSON, "the body has no push; send one push per line") }
    }

    // MARK: The response

    private func wholeResponse(_ session: BulkSession, _ format: BodyFormat) async -> Response {
        session.allCommitsFinished()
        var writer = BulkResponseWriter(format: format)
        var json: [UInt8] = []
        while true {
            let page = await session.nextPage()
            writer.append(page, to: &json)
            if page.isLast { break }
        }
        metrics.outcomeUnknown(pushes: writer.unknown)
        return Response(
            status: .ok, headers: [.contentType: writer.contentType], body: .init(byteBuffer: ByteBuffer(bytes: json))
        )
    }

    private func streamedResponse(_ session: BulkSession, _ input: RequestInput, _ format: BodyFormat) -> Response {
        let body = ResponseBody { output in
            var writer = BulkResponseWriter(format: format)
            let registration = stopFlag.whenSet {
                session.stop(
                    Refusal(
                        .shuttingDown, .text("no item from this one on was accepted, send them to another instance"))
                )
            }
            defer { registration.cancel() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await readAndCommit(input, session) }
                var isClientGone = false
                while true {
                    let page = await session.nextPage()
                    if !isClientGone {
                        var json: [UInt8] = []
                        writer.append(page, to: &json)
                        do {
                            session.setPageBytes(json.count)
                            defer { session.setPageBytes(0) }
                            try await output.write(ByteBuffer(bytes: json))
                        } catch {
                            // The client is gone; pushes already read are still committed.
                            isClientGone = true
                        }
                    }
                    if page.isLast { break }
                }
                metrics.outcomeUnknown(pushes: writer.unknown)
                try await output.finish(nil)
                // The reader of a stopped request may wait for bytes that never arrive.
                group.cancelAll()
            }
        }
        return Response(
            status: .ok, headers: [.contentType: BulkResponseWriter(format: format).contentType], body: body
        )
    }

    private func readAndCommit(_ input: RequestInput, _ session: BulkSession) async {
        await withDiscardingTaskGroup { commits in
            while session.wantsInput {
                let isOpen = await read(from: input, into: session)
                while let submission = session.startCommit() {
                    commits.addTask { _ = await session.commit(submission) }
                }
                guard isOpen else { break }
                await session.waitForCapacity()
                // Admission was checked when the request began; a stream may last longer than that decision.
                if let refusal = admission.refusal {
                    session.stop(Refusal(.overloaded, .overloaded(refusal)))
                }
            }
            session.end(isCutOff: false)
            while let submission = session.startCommit() {
                commits.addTask { _ = await session.commit(submission) }
            }
        }
        session.allCommitsFinished()
    }

    /// The field of W3C Trace Context, level 1: version 00 with its fixed length. Nil for any other value.
    private static func traceparent(of request: Request) -> String? {
        guard let value = request.headers[.traceparent], value.utf8.count == 55, value.hasPrefix("00-"),
            value.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        return value
    }
}

/// Writes the JSON of a bulk response: lines for a request of lines, one object for an array.
struct BulkResponseWriter {
    let format: BodyFormat
    private var isFirst = true
    private var accepted = 0
    private var refused = 0
    private(set) var unknown = 0

    init(format: BodyFormat) {
        self.format = format
    }

    var contentType: String { format == .lines ? "application/x-ndjson" : "application/json" }

    mutating func append(_ page: BulkSession.Page, to json: inout [UInt8]) {
        if isFirst, format == .json { JSONWriter.append("{\"results\":[\n", to: &json) }
        for run in page.runs {
            if format == .json, !isFirst { JSONWriter.append(",\n", to: &json) }
            isFirst = false
            count(run)
            switch format {
            case .lines: ResponseJSON.append(run, separator: UInt8(ascii: "\n"), to: &json)
            case .json:
                ResponseJSON.append(run, separator: UInt8(ascii: ","), to: &json)
                json.removeLast()
            }
        }
        guard page.isLast else { return }
        if let stop = page.stop {
            if format == .json, !isFirst { JSONWriter.append(",\n", to: &json) }
            ResponseJSON.appendRefused(index: page.itemCount, stop, to: &json)
            if format == .lines { json.append(UInt8(ascii: "\n")) }
        }
        if format == .json {
            JSONWriter.append("\n],\"accepted\":", to: &json)
            JSONWriter.appendInteger(accepted, to: &json)
            JSONWriter.append(",\"refused\":", to: &json)
            JSONWriter.appendInteger(refused, to: &json)
            JSONWriter.append(",\"unknown\":", to: &json)
            JSONWriter.appendInteger(unknown, to: &json)
            JSONWriter.append("}\n", to: &json)
        }
    }

    private mutating func count(_ run: BulkResults.Run) {
        switch run {
        case .accepted(_, let count, _, _, _, _, _): accepted += count
        case .failed(_, let count, _, _, let error, _):
            if error.isOutcomeUnknown { unknown += count } else { refused += count }
        case .refused, .verbatim: refused += 1
        }
    }
}
