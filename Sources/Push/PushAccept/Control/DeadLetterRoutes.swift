import APNSWire
import Hummingbird
import JSONText
import Logging
import NIOCore
import PushModel
import PushStore

/// Lists, shows, replays and purges dead letters: pushes that were given up.
struct DeadLetterRoutes: Sendable {
    /// Dead letters on a page if the request has no `limit`.
    static let pageDefault = 100
    static let pageMax = 1000

    let store: (any DeadLetterStore)?
    let handoff: any DirectHandoff
    let apps: AppDirectory
    let configuration: AcceptConfiguration
    let wallClock: @Sendable () -> WallTime
    let audit: ControlAudit

    /// `GET /api/v1/dead-letters?app=&after=&limit=`
    func list(_ request: Request) async throws -> Response {
        let page = try Page(request)
        if let app = page.app { try await requireKnown(app) }
        let store = try requireStore()
        let found: [DeadLetter]
        do {
            found = try await store.deadLetters(of: page.app, after: page.after, limit: page.limit)
        } catch {
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        var json: [UInt8] = []
        JSONWriter.append("{\"dead_letters\":[", to: &json)
        for (index, letter) in found.enumerated() {
            if index > 0 { json.append(UInt8(ascii: ",")) }
            JSONWriter.append("\n{", to: &json)
            Self.append(letter, to: &json)
            json.append(UInt8(ascii: "}"))
        }
        JSONWriter.append("\n],\"next\":", to: &json)
        if found.count == page.limit, let last = found.last {
            JSONWriter.appendString(last.id.description, to: &json)
        } else {
            JSONWriter.append("null", to: &json)
        }
        JSONWriter.append("}\n", to: &json)
        return .json(json)
    }

    /// `GET /api/v1/dead-letters/{msg_id}`
    func show(_ text: String?) async throws -> Response {
        guard let text, let id = PushID(text) else { throw Problem.invalidPushID }
        let store = try requireStore()
        let found: (letter: DeadLetter, push: DeadLetterContent?)?
        do {
            found = try await store.deadLetter(id)
        } catch {
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        guard let found else {
            throw Problem(.notFound, nil, "no dead letter with this msg_id; it may have been replayed or purged")
        }
        var json: [UInt8] = [UInt8(ascii: "{")]
        Self.append(found.letter, to: &json)
        if let push = found.push {
            Self.append(push, to: &json)
        } else {
            JSONWriter.append(#","readable":false,"detail":"#, to: &json)
            JSONWriter.appendString(Self.unreadable, to: &json)
        }
        JSONWriter.append("}\n", to: &json)
        return .json(json)
    }

    private static let unreadable = """
        the stored bytes of this push are damaged, so it cannot be sent again; check the disk, keep a backup of the store \
        for a report, then purge the dead letter
        """

    /// `POST /api/v1/dead-letters/replay`
    func replay(_ request: Request, _ context: AcceptContext) async throws -> Response {
        let store = try requireStore()
        let selection = try await selection(request)
        let count: ReplayCount
        do {
            let now = wallClock()
            count = try await store.replay(selection, at: now) { pushes, index in
                Self.isAccepted(pushes, index, at: now)
            }
        } catch {
            audit.failed(.replay, by: context, Self.metadata(of: selection), error)
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        // They are due immediately, and only this notifies dispatch of them.
        if count.replayed > 0 {
            var notified = apps.apps
            if case .app(let app?) = selection { notified.removeAll { $0.id != app } }
            for id in notified.flatMap(\.appEnvironments) {
                for lane in Lane.allCases { handoff.notifyBacklog(of: id, lane: lane) }
            }
        }
        var json: [UInt8] = []
        JSONWriter.append(#"{"replayed":"#, to: &json)
        JSONWriter.appendInteger(count.replayed, to: &json)
        if count.unreadable > 0 {
            JSONWriter.append(#","unreadable":"#, to: &json)
            JSONWriter.appendInteger(count.unreadable, to: &json)
        }
        if count.refused > 0 {
            JSONWriter.append(#","refused":"#, to: &json)
            JSONWriter.appendInteger(count.refused, to: &json)
        }
        JSONWriter.append("}\n", to: &json)
        let counts: Logger.Metadata = [
            "replayed": .stringConvertible(count.replayed), "unreadable": .stringConvertible(count.unreadable),
            "refused": .stringConvertible(count.refused),
        ]
        audit.succeeded(.replay, by: context, Self.metadata(of: selection).merging(counts) { $1 })
        return .json(json)
    }

    /// Whether no rule of the lint says that APNs would refuse the push. An earlier version may have accepted it.
    private static func isAccepted(_ pushes: NotificationBatch, _ index: Int, at now: WallTime) -> Bool {
        let entry = pushes.entries[index]
        let findings = pushes.payload(at: index).withUnsafeBytes { payload in
            NotificationLint.findings(
                headers: pushes.headers[Int(entry.headersIndex)],
                expiration: entry.expiration == NotificationBatch.noExpiration ? nil : entry.expiration,
                payload: payload, now: UNIXTime(secondsSince1970: now.seconds),
                target: .device(tokenBytes: Int(entry.tokenLength))
            )
        }
        return !findings.contains(where: \.isRefusedByAPNs)
    }

    /// `POST /api/v1/dead-letters/purge`
    func purge(_ request: Request, _ context: AcceptContext) async throws -> Response {
        let store = try requireStore()
        let selection = try await selection(request)
        let count: Int
        do {
            count = try await store.purge(selection)
        } catch {
            audit.failed(.purge, by: context, Self.metadata(of: selection), error)
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        var json: [UInt8] = []
        let counts: Logger.Metadata = ["purged": .stringConvertible(count)]
        audit.succeeded(.purge, by: context, Self.metadata(of: selection).merging(counts) { $1 })
        JSONWriter.append(#"{"purged":"#, to: &json)
        JSONWriter.appendInteger(count, to: &json)
        JSONWriter.append("}\n", to: &json)
        return .json(json)
    }

    private func requireStore() throws(Problem) -> any DeadLetterStore {
        guard let store else { throw Problem(unsupported: "keep dead letters") }
        return store
    }

    /// - Throws: 404 for an app that is neither configured nor has dead letters.
    private func requireKnown(_ app: AppID) async throws(Problem) {
        guard apps.app(named: app.name) == nil else { return }
        let store = try requireStore()
        let found: [DeadLetter]
        do {
            found = try await store.deadLetters(of: app, after: nil, limit: 1)
        } catch {
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        guard !found.isEmpty else { throw .unknownApp }
    }

    private func selection(_ request: Request) async throws -> DeadLetterSelection {
        let body = ControlBody(
            apps: apps, fields: [.ids, .app, .all], idsMax: configuration.queryIDsMax, acceptsAnyApp: true)
        switch try await body.read(request, configuration) {
        case .ids(let ids): return .ids(ids)
        case .app(let app):
            try await requireKnown(app)
            return .app(app)
        case .all: return .app(nil)
        case .request: preconditionFailure("this route does not accept the field")
        }
    }

    private static func metadata(of selection: DeadLetterSelection) -> Logger.Metadata {
        switch selection {
        case .ids(let ids): ["by": "ids", "ids": .stringConvertible(ids.count)]
        case .app(let app?): ["by": "app", "app": "\(app)"]
        case .app(nil): ["by": "all"]
        }
    }

    // MARK: JSON

    private static func append(_ letter: DeadLetter, to json: inout [UInt8]) {
        JSONWriter.append(#""msg_id":""#, to: &json)
        letter.id.value.append(to: &json)
        JSONWriter.append(#"","app":"#, to: &json)
        JSONWriter.appendString(letter.app.name, to: &json)
        JSONWriter.append(#","lane":"#, to: &json)
        JSONWriter.appendString(letter.lane.label, to: &json)
        JSONWriter.append(#","code":"#, to: &json)
        JSONWriter.appendInteger(letter.code.rawValue, to: &json)
        JSONWriter.append(#","error":"#, to: &json)
        JSONWriter.appendString(letter.code.entry.name, to: &json)
        if !letter.reason.text.isEmpty {
            JSONWriter.append(#","reason":"#, to: &json)
            JSONWriter.appendString(letter.reason.text, to: &json)
        }
        if letter.status != 0 {
            JSONWriter.append(#","apns_status":"#, to: &json)
            JSONWriter.appendInteger(letter.status, to: &json)
        }
        JSONWriter.append(#","attempts":"#, to: &json)
        JSONWriter.appendInteger(letter.attempts, to: &json)
        ResponseJSON.appendTime("accepted_at", letter.acceptedAt, to: &json)
        ResponseJSON.appendTime("died_at", letter.givenUpAt, to: &json)
    }

    private static func append(_ push: DeadLetterContent, to json: inout [UInt8]) {
        JSONWriter.append(#","topic":"#, to: &json)
        JSONWriter.appendString(push.topic, to: &json)
        JSONWriter.append(#","push_type":"#, to: &json)
        JSONWriter.appendString(push.pushType, to: &json)
        JSONWriter.append(#","token_bytes":"#, to: &json)
        JSONWriter.appendInteger(push.tokenBytes, to: &json)
        JSONWriter.append(#","payload_bytes":"#, to: &json)
        JSONWriter.appendInteger(push.payloadBytes, to: &json)
        if let expiration = push.expiration {
            JSONWriter.append(#","expiration":"#, to: &json)
            JSONWriter.appendInteger(expiration, to: &json)
        }
        if let collapseID = push.collapseID {
            JSONWriter.append(#","collapse_id":"#, to: &json)
            JSONWriter.appendString(collapseID, to: &json)
        }
    }

    // MARK: Pages

    /// The query parameters of the list.
    private struct Page {
        var app: AppID?
        var after: PushID?
        var limit = DeadLetterRoutes.pageDefault

        init(_ request: Request) throws(Problem) {
            for (name, value) in request.uri.queryParameters {
                switch name {
                case "app":
                    app = AppID(String(value))
                case "after":
                    guard let id = PushID(value) else { throw Problem(.badField, field: "after", "must be a msg_id") }
                    after = id
                case "limit":
                    guard let limit = Int(value), (1...DeadLetterRoutes.pageMax).contains(limit) else {
                        throw Problem(.badField, field: "limit", "must be 1 to \(DeadLetterRoutes.pageMax)")
                    }
                    self.limit = limit
                default:
                    let name = String(decoding: name.utf8.prefix(64), as: UTF8.self)
                    throw Problem(.unknownField, field: name, "no such parameter; use app, after and limit")
                }
            }
        }
    }
}
