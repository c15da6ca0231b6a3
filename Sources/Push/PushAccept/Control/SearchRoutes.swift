import Hummingbird
import JSONText
import NIOCore
import PushModel
import PushStore
import Synchronization

/// Searches for pushes by device token, app, state, error code, time and request.
struct SearchRoutes: Sendable {
    let store: (any MessageSearch)?
    let apps: AppDirectory
    /// Why pushes of an app in one environment wait; nil if they do not.
    let delay: @Sendable (AppEnvironment) -> DeliveryDelay?
    let configuration: AcceptConfiguration
    private let running = RunningSearches()

    init(
        store: (any MessageSearch)?, apps: AppDirectory,
        delay: @escaping @Sendable (AppEnvironment) -> DeliveryDelay?, configuration: AcceptConfiguration
    ) {
        self.store = store
        self.apps = apps
        self.delay = delay
        self.configuration = configuration
    }

    /// `GET /api/v1/messages?token=&app=&state=&code=&since=&request_id=&after=&limit=`
    func list(_ request: Request, _ caller: Caller) async throws -> Response {
        try await respond(to: SearchRequest(parametersOf: request), caller)
    }

    /// `POST /api/v1/messages/search`
    func search(_ request: Request, _ caller: Caller) async throws -> Response {
        _ = try BodyFormat(of: request.headers, linesAllowed: false)
        let body = try await RequestInput(request).collect(bytesMax: configuration.itemBytesMax)
        return try await respond(to: SearchRequest(json: body), caller)
    }

    private func respond(to request: SearchRequest, _ caller: Caller) async throws -> Response {
        var query = request.query
        query.requestID = query.requestID.map { caller.scoped(requestID: $0) }
        guard let store else { throw Problem(unsupported: "search for pushes") }
        guard running.start() else {
            var problem = Problem(
                .serviceUnavailable, nil, "\(RunningSearches.max) searches are running; search again later"
            )
            problem.headers[.retryAfter] = String(configuration.retryAfterSeconds)
            throw problem
        }
        defer { running.end() }
        let page: MessagePage
        do {
            page = try await store.search(
                query, after: request.after, limits: SearchLimits(messagesMax: request.limit)
            )
        } catch {
            throw Problem(
                busy: .storeUnavailable, "the store does not respond; search again later",
                retryAfter: configuration.retryAfterSeconds
            )
        }
        // An app that is no longer configured can have pushes.
        if let app = request.query.app, apps.app(named: app.name) == nil, request.after == nil, page.messages.isEmpty,
            page.next == nil
        {
            throw Problem.unknownApp
        }
        let isUnknownRequest = request.query.requestID != nil && request.after == nil && page.messages.isEmpty
        return .json(json(page, detail: isUnknownRequest ? Self.requestsCovered : nil))
    }

    private static let requestsCovered =
        "request_id selects pushes of bulk requests of the same caller; pushes of POST /push are stored without it"

    private func json(_ page: MessagePage, detail: String?) -> [UInt8] {
        var json: [UInt8] = []
        JSONWriter.append(#"{"messages":["#, to: &json)
        for (index, message) in page.messages.enumerated() {
            JSONWriter.append(index > 0 ? ",\n" : "\n", to: &json)
            let status = message.status
            let waits = status.state == .queued || status.state == .retrying
            ResponseJSON.append(
                status, waits ? delay(status.appEnvironment) : nil, tokenMatch: message.tokenMatch, to: &json
            )
            // The line end.
            json.removeLast()
        }
        JSONWriter.append("\n],\"next\":", to: &json)
        if let next = page.next {
            JSONWriter.appendString(next.description, to: &json)
        } else {
            JSONWriter.append("null", to: &json)
        }
        ResponseJSON.appendTime("searched_to", page.searchedTo, to: &json)
        if let detail {
            JSONWriter.append(#","detail":"#, to: &json)
            JSONWriter.appendString(detail, to: &json)
        }
        JSONWriter.append("}\n", to: &json)
        return json
    }
}

/// Bounds the searches that run concurrently, so that they delay look-ups by a few milliseconds at most.
private final class RunningSearches: Sendable {
    static let max = 4

    private let count = Atomic(0)

    /// - Returns: false if too many are running.
    func start() -> Bool {
        guard count.add(1, ordering: .relaxed).newValue <= Self.max else {
            end()
            return false
        }
        return true
    }

    func end() { count.subtract(1, ordering: .relaxed) }
}
