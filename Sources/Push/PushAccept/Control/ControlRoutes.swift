import APNSWire
import Foundation
import Hummingbird
import JSONText
import Logging
import NIOCore
import PushModel
import PushStore

/// Cancels pushes that wait, and pauses and resumes apps.
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
        guard let text, let id = PushID(text) else { throw Problem.noID }
        let result = try await cancel([id], context)[0]
        var problem: Problem
        switch result {
        case .cancelled, .settled(.cancelled):
            var json: [UInt8] = []
            Self.append(id, result, to: &json)
            json.append(UInt8(ascii: "\n"))
            return .json(json)
        case .unknown:
            throw Problem(.notFound, nil, "no push of this msg_id was accepted here, or its record has been removed")
        case .tooLate: problem = Problem(.conflict, nil, "too late: the push is being sent")
        case .settled(let verdict): problem = Problem(.conflict, nil, "too late: the push is \(verdict.label)")
        }
        problem.pushID = id
        throw problem
    }

    /// `POST /api/v1/messages/cancel`
    func cancelMany(_ request: Request, _ context: AcceptContext) async throws -> Response {
        let body = ControlBody(
            apps: apps, fields: [.ids, .request, .app], idsMax: configuration.queryIDsMax, takesAnyApp: true
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
            JSONWriter.append("{", to: &json)
            Self.append(try await cancel(.request(id), context) { await $0.cancel(request: id) }, to: &json)
        case .app(let app):
            try await demandKnown(app)
            JSONWriter.append("{", to: &json)
            Self.append(try await cancel(.app(app), context) { await $0.cancel(app: app) }, to: &json)
        case .all: preconditionFailure("a field that this route does not take")
        }
        return .json(json)
    }

    /// What waits for an app that is not configured any more can be cancelled, too.
    private func demandKnown(_ app: AppID) async throws(Problem) {
        guard apps.app(named: app.name) == nil else { return }
        let depth: QueueDepth
        do {
            depth = try await queue.depth()
        } catch {
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        guard depth.rows.contains(where: { $0.app == app }) else { throw Problem.unknownApp }
    }

    /// First in the store, then among what is claimed by this instance.
    private func cancel(_ ids: [PushID], _ context: AcceptContext) async throws(Problem) -> [CancelResult] {
        let control = try existing()
        var results: [CancelResult]
        do {
            results = try await control.cancel(ids, at: wallClock())
        } catch {
            audit.failed(.cancel, by: context, Self.which(ids), error)
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        let late = ids.indices.filter { results[$0] == .tooLate }
        if !late.isEmpty, let inMemory = dispatch.inMemory {
            let taken = await inMemory.cancel(ids: late.map { ids[$0] })
            for index in late where taken.contains(ids[index]) { results[index] = .cancelled }
        }
        tell(
            CancelCount(cancelled: results.count { $0 == .cancelled }, tooLate: results.count { $0 == .tooLate }),
            Self.which(ids), context
        )
        return results
    }

    private func cancel(
        _ target: CancelTarget, _ context: AcceptContext, inMemory cancel: (any ClaimedBatchCanceller) async -> Int
    ) async throws(Problem) -> CancelCount {
        let control = try existing()
        var count: CancelCount
        do {
            count = try await control.cancel(target, at: wallClock())
        } catch {
            audit.failed(.cancel, by: context, Self.which(target), error)
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        if count.tooLate > 0, let inMemory = dispatch.inMemory {
            let taken = await cancel(inMemory)
            count.cancelled += taken
            count.tooLate = max(0, count.tooLate - taken)
        }
        tell(count, Self.which(target), context)
        return count
    }

    private func tell(_ count: CancelCount, _ which: Logger.Metadata, _ context: AcceptContext) {
        let counts: Logger.Metadata = ["cancelled": "\(count.cancelled)", "too_late": "\(count.tooLate)"]
        audit.done(.cancel, by: context, which.merging(counts) { $1 })
    }

    private static func which(_ ids: [PushID]) -> Logger.Metadata { ["by": "ids", "ids": "\(ids.count)"] }

    /// Not the request's id: it is whatever somebody wrote into a body.
    private static func which(_ target: CancelTarget) -> Logger.Metadata {
        switch target {
        case .request: ["by": "request"]
        case .app(let app): ["by": "app", "app": "\(app)"]
        }
    }

    private func existing() throws(Problem) -> any QueueControl {
        guard let control else { throw Problem(cannot: "cancel pushes or pause apps") }
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
        var queued: [AppLane: Int] = [:]
        for row in depth.rows { queued[AppLane(app: row.app, lane: row.lane), default: 0] += row.pushes }
        var json: [UInt8] = []
        JSONWriter.append("{\"apps\":[", to: &json)
        // Those that are not configured any more are listed as long as something waits for them.
        let forgotten = Set(depth.rows.map(\.app)).filter { apps.app(named: $0.name) == nil }.sorted()
        let listed = apps.apps.map { ($0.id, Optional($0.bundleID)) } + forgotten.map { ($0, nil) }
        for (index, (app, bundleID)) in listed.enumerated() {
            if index > 0 { json.append(UInt8(ascii: ",")) }
            JSONWriter.append("\n{\"app\":", to: &json)
            JSONWriter.appendString(app.name, to: &json)
            if let bundleID {
                JSONWriter.append(#","bundle_id":"#, to: &json)
                JSONWriter.appendString(bundleID, to: &json)
            } else {
                JSONWriter.append(#","configured":false"#, to: &json)
            }
            JSONWriter.append(#","queued":{"#, to: &json)
            for lane in Lane.allCases {
                if lane != .urgent { json.append(UInt8(ascii: ",")) }
                JSONWriter.appendString(lane.label, to: &json)
                json.append(UInt8(ascii: ":"))
                JSONWriter.appendInteger(queued[AppLane(app: app, lane: lane)] ?? 0, to: &json)
            }
            json.append(UInt8(ascii: "}"))
            ResponseJSON.appendTime("paused_since", paused[app], to: &json)
            if bundleID != nil { ResponseJSON.append(dispatch.delay(app), to: &json) }
            json.append(UInt8(ascii: "}"))
        }
        JSONWriter.append("\n]}\n", to: &json)
        return .json(json)
    }

    /// `POST /api/v1/apps/{app}/pause`, and the same with `resume`. Doing it again changes nothing.
    func setPaused(_ isPaused: Bool, _ name: String?, _ context: AcceptContext) async throws -> Response {
        guard let name = name?.removingPercentEncoding else { throw Problem.unknownApp }
        let app = AppID(name)
        let control = try existing()
        if apps.app(named: name) == nil {
            // One that was paused when it left the configuration can be resumed, so that its pushes go when it is back.
            let paused: [AppID: WallTime]
            do {
                paused = try await control.pausedApps()
            } catch {
                throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
            }
            guard !isPaused, paused[app] != nil else { throw Problem.unknownApp }
        }
        let act = isPaused ? ControlAudit.Act.pause : .resume
        do {
            try await control.setPaused(isPaused, app: app, at: wallClock())
        } catch {
            audit.failed(act, by: context, ["app": "\(app)"], error)
            throw Problem(control: error, retryAfter: configuration.retryAfterSeconds)
        }
        audit.done(act, by: context, ["app": "\(app)"])
        // Asked again, because another request may have said the opposite meanwhile.
        let number = pauseUpdates.next()
        let isPausedNow = (try? await control.pausedApps()).map { $0[app] != nil } ?? isPaused
        pauseUpdates.tell(number, of: app) { dispatch.pauseObserver(app, isPausedNow) }
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
        _ = try BodyFormat(of: request, linesAllowed: false)
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
