import APNSKit
import APNSWire
import NIOCore
import PushTesting
import Synchronization
import Testing

/// A fault of a server, and what the client must say about it.
private enum Fault: CaseIterable, CustomTestStringConvertible {
    case tcpRefused, tcpThenSilence, tlsThenSilence, tlsThenClose, settingsThenSilence, settingsThenClose
    case goAwayFirst, readsNothing, answersNoPush, serverErrors
    case slowAnswers

    var testDescription: String { "\(self)" }

    /// The causes of which one must be reported; empty: the fault is no outage.
    var causes: Set<APNSConnectionFailure.Cause> {
        switch self {
        case .tcpRefused: [.refused]
        case .tcpThenSilence, .tlsThenSilence: [.timedOut]
        case .tlsThenClose: [.connectionClosed, .tlsFailed]
        case .settingsThenSilence, .readsNothing: [.pingTimeout]
        case .settingsThenClose: [.connectionClosed, .connectionReset]
        case .goAwayFirst: [.goAway]
        case .answersNoPush: [.unanswered]
        case .serverErrors: [.serverError]
        case .slowAnswers: []
        }
    }

    func connected(_ peer: ScriptedServer.Peer) {
        switch self {
        case .settingsThenSilence: peer.stopResponding()
        case .settingsThenClose: peer.close()
        case .goAwayFirst: peer.goAway(last: 0)
        case .readsNothing: peer.stopReading()
        default: break
        }
    }

    func answer(_ peer: ScriptedServer.Peer, _ request: ScriptedServer.Request) {
        switch self {
        case .serverErrors: peer.respond(request, 503, #"{"reason":"ServiceUnavailable"}"#)
        case .slowAnswers: peer.after(.milliseconds(600)) { peer.respond(request, 200) }
        default: break
        }
    }
}

@Suite struct `An outage that the client reports` {
    /// A server with a fault, until `heal`.
    private final class Server {
        private let isFaulty: FaultSwitch
        private let fault: Fault
        let port: Int
        private var listener: LoopbackListener?
        private var server: ScriptedServer?

        init(_ fault: Fault) async throws {
            self.fault = fault
            isFaulty = FaultSwitch(fault)
            switch fault {
            case .tcpRefused: port = try freePort()
            case .tcpThenSilence:
                let listener = try LoopbackListener()
                port = listener.port
                self.listener = listener
            case .tlsThenSilence, .tlsThenClose:
                var options = ScriptedServer.Options()
                options.isSilent = true
                if fault == .tlsThenClose { options.onConnect = { $0.close() } }
                let server = try await ScriptedServer(options) { _, _ in }
                port = server.port
                self.server = server
            default:
                let server = try await Self.start(port: 0, isFaulty)
                port = server.port
                self.server = server
            }
        }

        private static func start(port: Int, _ isFaulty: FaultSwitch) async throws -> ScriptedServer {
            var options = ScriptedServer.Options()
            options.port = port
            options.afterSettings = { isFaulty.fault?.connected($0) }
            return try await ScriptedServer(options) { peer, request in
                if let fault = isFaulty.fault { fault.answer(peer, request) } else { peer.respond(request, 200) }
            }
        }

        /// Ends the fault for new connections and new pushes.
        func heal() async throws {
            isFaulty.end()
            switch fault {
            case .tcpRefused, .tcpThenSilence, .tlsThenSilence, .tlsThenClose:
                listener = nil
                try await server?.close()
                server = try await Self.start(port: port, isFaulty)
            default: break
            }
        }
    }

    private final class FaultSwitch: Sendable {
        private let state: Mutex<Fault?>

        init(_ fault: Fault) { state = Mutex(fault) }

        var fault: Fault? { state.withLock { $0 } }
        func end() { state.withLock { $0 = nil } }
    }

    /// Sends one push after the other, as dispatch does with retries, until the condition holds.
    private func flow(
        _ client: APNSClient, until goal: String, _ condition: @escaping @Sendable () -> Bool
    ) async throws {
        let sender = Task {
            var number = 0
            await withTaskGroup(of: Void.self) { group in
                while !Task.isCancelled {
                    let batch = Samples.batch(1, from: number)
                    number += 1
                    group.addTask { _ = await client.send(batch, requestTimeout: .seconds(2)) }
                    try? await Task.sleep(for: .milliseconds(50))
                }
            }
        }
        defer { sender.cancel() }
        try await waitUntil(goal, within: .seconds(60), every: .milliseconds(5), condition)
    }

    @Test(arguments: Fault.allCases)
    fileprivate func `is reported with its cause, and is over after the fault`(_ fault: Fault) async throws {
        let server = try await Server(fault)
        let client = try Samples.client(port: server.port) {
            // A sixth of the times of the defaults.
            $0.silenceMax = .seconds(2)
            $0.pingInterval = .milliseconds(1300)
            $0.pingTimeout = .milliseconds(800)
            $0.stallTimeout = .milliseconds(1300)
            $0.connectTimeout = .milliseconds(1600)
        }
        #expect(client.snapshot().outage == nil)
        if fault.causes.isEmpty {
            try await flow(client, until: "answers") {
                client.snapshot().accepted >= 50 || client.snapshot().outage != nil
            }
            #expect(client.snapshot().outage == nil && client.snapshot().failures.isEmpty)
        } else {
            try await flow(client, until: "the outage") {
                client.snapshot().outage.map { fault.causes.contains($0.failure.cause) } ?? false
            }
            try await server.heal()
            try await flow(client, until: "the end of the outage") {
                client.snapshot().outage == nil && client.snapshot().accepted > 0
            }
        }
        await client.shutdown(grace: .zero)
    }
}
