package import APNSWire
import Hummingbird
import JSONText

/// A push that the phone page sends at the press of a button.
package struct TestPush: Sendable, Equatable {
    package let token: DeviceToken
    /// JSON.
    package let payload: [UInt8]

    /// - Parameter now: UNIX milliseconds; the text of the alert has the time, so that two test pushes differ.
    init(to token: DeviceToken, now: Int64) {
        self.token = token
        let seconds = now / 1000 % 86_400
        let time = [seconds / 3600, seconds / 60 % 60, seconds % 60].map { $0 < 10 ? "0\($0)" : "\($0)" }
        payload = Array(
            #"{"aps":{"alert":{"title":"Test push","body":"Sent at \#(time.joined(separator: ":")) UTC."},"sound":"default"}}"#
                .utf8)
    }

    /// The result of handing a test push to a gateway.
    package enum Result: Sendable, Equatable {
        /// The gateway accepted the push under this ID. It sends the push to the simulator later, or not at all.
        case accepted(id: String)
        /// Why the gateway did not accept it: one phrase without token and payload.
        case failed(String)
    }
}

/// `POST /test-push`, or `POST /test-push?device=phone-7`: sends a test push to a new device, or to that one.
///
/// Through the gateway, if the simulator runs next to one; otherwise the simulator delivers the push itself. The browser calls
/// the simulator and never the gateway, which refuses requests of other origins. The access control of this API refuses
/// other origins too.
struct TestPushRoute: Sendable {
    let state: SimulatorState

    func add(to router: Router<BasicRequestContext>, device: @escaping @Sendable (String) throws -> Device) {
        router.post("/test-push") { request, _ in
            let device = try request.uri.queryParameters["device"].map { try device(String($0)) }
            return try await send(to: device)
        }
    }

    private func send(to device: Device?) async throws -> Response {
        guard let token = DeviceToken(bytes: device?.token ?? Self.newToken()) else {
            throw ControlProblem(.conflict, "the device has no token that can receive a push")
        }
        let push = TestPush(to: token, now: state.configuration.clock())
        guard let sendTestPush = state.configuration.sendTestPush else {
            guard state.receive(push, topic: topic(of: device)) else {
                throw ControlProblem(.conflict, "devices are disabled in this simulator")
            }
            return DeviceRoutes.json { $0.string("via", "simulator") }
        }
        switch await sendTestPush(push) {
        case .accepted(let id):
            return DeviceRoutes.json { members in
                members.string("via", "gateway")
                members.string("msg_id", id)
            }
        case .failed(let reason): throw ControlProblem(.badGateway, reason)
        }
    }

    private static func newToken() -> [UInt8] {
        (0..<32).map { _ in .random(in: .min ... .max) }
    }

    private func topic(of device: Device?) -> String {
        if let device, !device.bundleID.isEmpty { return device.bundleID }
        return state.configuration.topics?.min() ?? "com.example.app"
    }
}

extension SimulatorState {
    /// Treats a test push as one that arrived over APNs and has no other fault than the state of its token.
    ///
    /// - Returns: false if there are no devices; then nothing has happened.
    fileprivate func receive(_ push: TestPush, topic: String) -> Bool {
        guard configuration.devices.countMax > 0, configuration.pushLogMax > 0 else { return false }
        let refusal = tokenState(of: push.token.bytes)?.simulatedResponse
        let received = ReceivedPush(
            sequence: 0, id: .random(), token: push.token.bytes, topic: topic, pushType: .alert, priority: nil,
            expiration: nil, collapseID: "", payload: push.payload, connection: 0, stream: 0,
            status: refusal?.status ?? 200, reason: refusal?.reason ?? "", isTaken: refusal == nil,
            receivedAt: configuration.clock())
        record(SimulatorCounters(), takenIDs: [], pushes: [received])
        return true
    }
}
