#if SimulatorControl
import APNSWire
import Hummingbird
import JSONText
import NIOCore

/// Routes for devices, their events and the phone page. Also installs the access control of the API.
struct DeviceRoutes: Sendable {
    private static let bodyBytesMax = 64 * 1024
    /// The shortest token that may create a device; a shorter one is a prefix of an existing token.
    private static let newTokenDigitsMin = 64

    let state: SimulatorState

    /// Call this before adding any other route: the middleware applies only to routes added after it.
    func add(to router: Router<BasicRequestContext>) {
        router.add(middleware: ControlAccessMiddleware(host: state.configuration.host))
        router.get("/devices") { request, _ in try list(request) }
        router.get("/devices/:device") { request, context in
            try detail(try device(context), showsToken: try Self.showsTokens(request))
        }
        router.put("/devices/:device") { request, context in try await put(request, context) }
        router.get("/events") { request, _ in try events(request) }
        TestPushRoute(state: state).add(to: router) { try device(named: $0) }
        for file in PageFile.all { router.get(RouterPath(file.path)) { _, _ in file.response() } }
    }

    private func list(_ request: Request) throws -> Response {
        let showsToken = try Self.showsTokens(request)
        var bytes: [UInt8] = []
        JSONObjectWriter.object(to: &bytes) { members in
            members.array("devices", state.devices.all()) { device, bytes in
                device.appendSummary(to: &bytes, tokenState: tokenState(of: device), showsToken: showsToken)
            }
        }
        return Self.json(bytes)
    }

    private func put(_ request: Request, _ context: BasicRequestContext) async throws -> Response {
        let token = try newToken(context) ?? device(context).token
        var request = request
        let body: [UInt8]
        do {
            body = Array(try await request.collectBody(upTo: Self.bodyBytesMax).readableBytesView)
        } catch is NIOTooManyBytesError {
            throw ControlProblem(.contentTooLarge, "the body is larger than \(Self.bodyBytesMax) bytes")
        }
        let update: DeviceUpdate
        do throws(DeviceUpdateError) {
            update = try DeviceUpdate(json: body)
        } catch {
            throw ControlProblem(.badRequest, error.description)
        }
        if let wanted = update.tokenState {
            guard state.setTokenState(wanted.simulated(now: state.configuration.clock()), of: token) else {
                throw ControlProblem(.tooManyRequests, "\(SimulatorState.tokenStatesMax) tokens already have a state")
            }
        }
        guard let device = state.devices.update(token, update) else {
            throw ControlProblem(.conflict, "devices are disabled in this simulator")
        }
        return try detail(device, showsToken: try Self.showsTokens(request))
    }

    private func events(_ request: Request) throws -> Response {
        guard !state.devices.isFull else {
            throw ControlProblem(.tooManyRequests, "\(Devices.listenersMax) listeners are already connected")
        }
        var screenDevice: Int?
        if let name = request.uri.queryParameters["device"].map({ String($0) }) {
            // Under load a listener may learn of a device that is removed before it can select it.
            screenDevice = try state.devices.number(ofID: name) ?? device(named: name).number
        }
        let seen = request.headers.first { $0.name.canonicalName == "last-event-id" }?.value
        let cursor = (seen ?? request.uri.queryParameters["after"].map(String.init)).flatMap {
            DeviceTable.Cursor(text: $0)
        }
        return DeviceEvents(state: state, screenDevice: screenDevice, seen: cursor).response()
    }

    // MARK: Request parsing

    private func device(_ context: BasicRequestContext) throws -> Device {
        try device(named: context.parameters.get("device") ?? "")
    }

    private func device(named name: String) throws -> Device {
        let devices = state.devices.named(name)
        guard let device = devices.first else { throw ControlProblem(.notFound, "no such device") }
        guard devices.count == 1 else { throw ControlProblem(.conflict, "\(devices.count) devices match this prefix") }
        return device
    }

    /// A full token, for which a device need not exist; nil if the name is a device ID or a prefix.
    private func newToken(_ context: BasicRequestContext) throws -> [UInt8]? {
        let name = context.parameters.get("device") ?? ""
        return name.count >= Self.newTokenDigitsMin ? DeviceToken(hex: name)?.bytes : nil
    }

    private static func showsTokens(_ request: Request) throws -> Bool {
        let tokens = request.uri.queryParameters["tokens"].map(String.init) ?? "short"
        guard ["short", "full"].contains(tokens) else {
            throw ControlProblem(.badRequest, "tokens must be short or full")
        }
        return tokens == "full"
    }

    // MARK: Responses

    private func tokenState(of device: Device) -> DeviceUpdate.TokenState { .init(state.tokenState(of: device.token)) }

    private func detail(_ device: Device, showsToken: Bool) throws -> Response {
        var bytes: [UInt8] = []
        device.appendDetail(to: &bytes, tokenState: tokenState(of: device), showsToken: showsToken)
        return Self.json(bytes)
    }

    /// A response with one object.
    static func json(_ write: (inout JSONObjectWriter) -> Void) -> Response {
        var bytes: [UInt8] = []
        JSONObjectWriter.object(to: &bytes, write)
        return json(bytes)
    }

    private static func json(_ bytes: [UInt8]) -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        )
    }
}
#endif
