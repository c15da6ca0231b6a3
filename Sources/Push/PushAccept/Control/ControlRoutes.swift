import APNSWire
import Foundation
import Hummingbird
import JSONText
import Logging
import NIOCore
import PushModel
import PushStore

/// Cancels waiting pushes, lists apps, and pauses and resumes them.
struct ControlRoutes: Sendable {
    let queue: any DurableQueue
    let control: (any QueueControl)?
    let dispatch: AcceptDispatch
    let apps: AppDirectory
    let configuration: AcceptConfiguration
    let wallClock: @Sendable () -> WallTime
    let audit: ControlAudit
    private let pauseUpdates = OrderedPauseUpdates()

    init(
        queue: any DurableQueue, control: (any QueueControl)?, dispatch: AcceptDispatch, apps: AppDirectory,
        configuration: AcceptConfiguration, wallClock: @escaping @Sendable () -> WallTime,
        audit: ControlAudit
    ) {
        self.queue = queue
        self.control = control
        self.dispatch = dispatch
        self.apps = apps
        self.configuration = configuration
        self.wallClock = wallClock
        self.audit = audit
    }

    // MARK: Cancel

    /// `DELETE /api/v1/messages/{msg_id}`
    func cancelOne(_ text: String?, _ context: AcceptContext) async throws -> Response {
        guard let text, let id = PushID(text) else { throw Problem.invalidPushID }
        let result = try await cancel([id], context)[0]
        var problem: Problem
        switch result {
        case .cancelled, .settled(.cancelled):
            var json: [UInt8] = []
            Self.append(id, result, to: &json)
            json.append(UInt8(ascii: "\n"))
            return .json(json)
        case .unknown:
            throw Problem(.notFound, nil, "no push with this msg_id was accepted here, or its record was deleted")
        case .tooLate: problem = Problem(.conflict, nil, "too late: the push is being sent")
        case .settled(let verdict): problem = Problem(.conflict, nil, "too late: the push is \(verdict.label)")
        }
        problem.pushID = id
        throw problem
    }

    /// `POST /api/v1/messages/cancel`
    func cancelMany(_ request: Request, _ context: AcceptContext) async throws -> Response {
        let body = ControlBody(
            apps: apps, fields: [.ids, .request, .app], idsMax: configuration.queryIDsMax, acceptsAnyApp: true
        )
        var json: [UInt8] = []
        switch try await body.read(request, configuration) {
        case .ids(let ids):
            let results = ids.isEmpty ? [] : try await cancel(ids, context)
            JSONWriter.append("{\"results\":[\n", to: &json)
            for (index, id) in ids.enumerated() {
                if index > 0 { JSONWriter.append(",\n", to: &json) }
                Self.append(id, results[index], to: &json)
            }
            JSONWriter.append("\n],", to: &json)
            Self.append(
                CancelCount(
                    cancelled: results.count { $0 == .cancelled || $0 == .settled(.cancelled) },
                    tooLate: results.count { $0 == .tooLate }
                ), to: &json
            )
        case .request(let id):
            let scoped = context.head.caller.scoped(requestID: id)
            JSONWriter.append("{", to: &json)
            Self.append(try await cancel(.request(scoped), context) { await $0.cancel(request: scoped) }, to: &json)
        case .app(let app):
            try await requireKnown(app)
            JSONWriter.append("{", to: &json)
            Self.append(try await cancel(.app(app), context) { await $0.cancel(app: app) }, to: &json)
        case .all: preconditionFailure("this route does not accept the field")
        }
        return .json(json)
    }

    /// - Throws: 404 for an app that is neither configured nor has waiting pushes. Pushes of an app that is no longer
    ///   configured can be cancelled.
    private func requireKnown(_ app: AppID) async throws(Problem) {
        guard apps.app(named: app.name) == nil else { return }
        let depth: QueueDepth
        do {
            depth = try await queue.depth()
        } catch {
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        guard depth.rows.contains(where: { $0.app == app }) else { throw Problem.unknownApp }
    }

    /// Cancels in the store first, then in the batches that this instance has claimed.
    private func cancel(_ ids: [PushID], _ context: AcceptContext) async throws(Problem) -> [CancelResult] {
        let control = try requireControl()
        var results: [CancelResult]
        do {
            results = try await control.cancel(ids, at: wallClock())
        } catch {
            audit.failed(.cancel, by: context, Self.metadata(of: ids), error)
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        let late = ids.indices.filter { results[$0] == .tooLate }
        if !late.isEmpty, let canceller = dispatch.canceller {
            let cancelled = await canceller.cancel(ids: late.map { ids[$0] })
            for index in late where cancelled.contains(ids[index]) { results[index] = .cancelled }
        }
        logCancellation(
            CancelCount(cancelled: results.count { $0 == .cancelled }, tooLate: results.count { $0 == .tooLate }),
            Self.metadata(of: ids), context
        )
        return results
    }

    private func cancel(
        _ target: CancelTarget, _ context: AcceptContext, claimed cancel: (any ClaimedBatchCanceller) async -> Int
    ) async throws(Problem) -> CancelCount {
        let control = try requireControl()
        var count: CancelCount
        do {
            count = try await control.cancel(target, at: wallClock())
        } catch {
            audit.failed(.cancel, by: context, Self.metadata(of: target), error)
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        if count.tooLate > 0, let canceller = dispatch.canceller {
            let cancelled = await cancel(canceller)
            count.cancelled += cancelled
            count.tooLate = max(0, count.tooLate - cancelled)
        }
        logCancellation(count, Self.metadata(of: target), context)
        return count
    }

    private func logCancellation(_ count: CancelCount, _ metadata: Logger.Metadata, _ context: AcceptContext) {
        let counts: Logger.Metadata = [
            "cancelled": .stringConvertible(count.cancelled), "too_late": .stringConvertible(count.tooLate),
        ]
        audit.succeeded(.cancel, by: context, metadata.merging(counts) { $1 })
    }

    private static func metadata(of ids: [PushID]) -> Logger.Metadata {
        ["by": "ids", "ids": .stringConvertible(ids.count)]
    }

    /// Without the id of the cancelled request: it is text from a body, which is not safe to log.
    private static func metadata(of target: CancelTarget) -> Logger.Metadata {
        switch target {
        case .request: ["by": "request"]
        case .app(let app): ["by": "app", "app": "\(app)"]
        }
    }

    private func requireControl() throws(Problem) -> any QueueControl {
        guard let control else { throw Problem(unsupported: "cancel pushes or pause apps") }
        return control
    }

    private static func append(_ id: PushID, _ result: CancelResult, to json: inout [UInt8]) {
        JSONWriter.append(#"{"msg_id":""#, to: &json)
        id.value.append(to: &json)
        JSONWriter.append(#"","result":"#, to: &json)
        switch result {
        case .cancelled, .settled(.cancelled): JSONWriter.append(#""cancelled"}"#, to: &json)
        case .tooLate: JSONWriter.append(#""too_late"}"#, to: &json)
        case .unknown: JSONWriter.append(#""unknown"}"#, to: &json)
        case .settled(let verdict):
            JSONWriter.append(#""settled","state":"#, to: &json)
            JSONWriter.appendString(verdict.label, to: &json)
            json.append(UInt8(ascii: "}"))
        }
    }

    private static func append(_ count: CancelCount, to json: inout [UInt8]) {
        JSONWriter.append(#""cancelled":"#, to: &json)
        JSONWriter.appendInteger(count.cancelled, to: &json)
        JSONWriter.append(#","too_late":"#, to: &json)
        JSONWriter.appendInteger(count.tooLate, to: &json)
        JSONWriter.append("}\n", to: &json)
    }

    // MARK: Apps

    /// `GET /api/v1/apps`
    func list() async throws -> Response {
        let depth: QueueDepth
        let paused: [AppID: WallTime]
        do throws(QueueError) {
            depth = try await queue.depth()
            paused = try await control?.pausedApps() ?? [:]
        } catch {
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        var queued: [AppID: [Lane: Int]] = [:]
        for row in depth.rows { queued[row.app, default: [:]][row.lane, default: 0] += row.pushes }
        var json: [UInt8] = []
        JSONWriter.append("{\"apps\":[", to: &json)
        // Apps that are no longer configured are listed while pushes wait for them.
        let unconfigured = Set(depth.rows.map(\.app)).filter { apps.app(named: $0.name) == nil }.sorted()
        let listed = apps.apps.map { ($0.id, Optional($0)) } + unconfigured.map { ($0, nil) }
        for (index, (app, configured)) in listed.enumerated() {
            if index > 0 { json.append(UInt8(ascii: ",")) }
            JSONWriter.append("\n{\"app\":", to: &json)
            JSONWriter.appendString(app.name, to: &json)
            if let configured {
                JSONWriter.append(#","bundle_id":"#, to: &json)
                JSONWriter.appendString(configured.bundleID, to: &json)
            } else {
                JSONWriter.append(#","configured":false"#, to: &json)
            }
            JSONWriter.append(#","queued":{"#, to: &json)
            for lane in Lane.allCases {
                if lane != .urgent { json.append(UInt8(ascii: ",")) }
                JSONWriter.appendString(lane.label, to: &json)
                json.append(UInt8(ascii: ":"))
                JSONWriter.appendInteger(queued[app]?[lane] ?? 0, to: &json)
            }
            json.append(UInt8(ascii: "}"))
            ResponseJSON.appendTime("paused_since", paused[app], to: &json)
            if let configured { appendEnvironments(of: configured, to: &json) }
            json.append(UInt8(ascii: "}"))
        }
        JSONWriter.append("\n]}\n", to: &json)
        return .json(json)
    }

    /// Appends why pushes of the app that name no environment wait, and the environments of an app that has several.
    private func appendEnvironments(of app: ConfiguredApp, to json: inout [UInt8]) {
        let environments = app.appEnvironments
        ResponseJSON.appendDetailed(dispatch.delay(environments[0]), to: &json)
        guard environments.count > 1 else { return }
        JSONWriter.append(#","environments":["#, to: &json)
        for (index, id) in environments.enumerated() {
            if index > 0 { json.append(UInt8(ascii: ",")) }
            JSONWriter.append(#"{"environment":"#, to: &json)
            JSONWriter.appendString(id.environment.label, to: &json)
            ResponseJSON.appendDetailed(dispatch.delay(id), to: &json)
            json.append(UInt8(ascii: "}"))
        }
        json.append(UInt8(ascii: "]"))
    }

    /// `POST /api/v1/apps/{app}/pause` and `…/resume`. Repeating the request changes nothing.
    func setPaused(_ isPaused: Bool, _ name: String?, _ context: AcceptContext) async throws -> Response {
        guard let name = name?.removingPercentEncoding else { throw Problem.unknownApp }
        let app = AppID(name)
        let control = try requireControl()
        if apps.app(named: name) == nil {
            // An app that was paused when it left the configuration can be resumed, so that its pushes are sent once it
            // is configured again.
            let paused: [AppID: WallTime]
            do {
                paused = try await control.pausedApps()
            } catch {
                throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
            }
            guard !isPaused, paused[app] != nil else { throw Problem.unknownApp }
        }
        let action = isPaused ? ControlAudit.Action.pause : .resume
        do {
            try await control.setPaused(isPaused, app: app, at: wallClock())
        } catch {
            audit.failed(action, by: context, ["app": "\(app)"], error)
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        audit.succeeded(action, by: context, ["app": "\(app)"])
        // Read again, because a concurrent request may have changed it.
        let version = pauseUpdates.nextVersion()
        let isPausedNow = (try? await control.pausedApps()).map { $0[app] != nil } ?? isPaused
        pauseUpdates.apply(version, of: app) { dispatch.pauseObserver(app, isPausedNow) }
        var json: [UInt8] = []
        JSONWriter.append(#"{"app":"#, to: &json)
        JSONWriter.appendString(app.name, to: &json)
        if isPaused {
            JSONWriter.append(",\"paused\":true}\n", to: &json)
        } else {
            JSONWriter.append(",\"paused\":false}\n", to: &json)
        }
        return .json(json)
    }
}

extension ControlBody {
    func read(_ request: Request, _ configuration: AcceptConfiguration) async throws -> Selection {
        _ = try BodyFormat(of: request.headers, linesAllowed: false)
        return try read(try await RequestInput(request).collect(bytesMax: configuration.itemBytesMax))
    }
}

extension Response {
    static func json(_ bytes: [UInt8]) -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(bytes: bytes))
        )
    }
}
