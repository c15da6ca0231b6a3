import APNSSimulator
import Foundation
import GodwitCLI
import Synchronization

/// A gateway as a process of its own that can be killed, stopped and started again on the same store.
final class TortureGateway: Sendable {
    /// Longer than any drain may take.
    private static let patience: Duration = .seconds(40)

    let url: String
    private let configuration: String
    private let events: TortureLog<EventLine>
    private let current: Mutex<BenchProcess?>

    init(_ folder: TortureFolder, simulator: Simulator, events: TortureLog<EventLine>, key: SimulatorSigningKey) throws
    {
        let port = try BenchSetup.freePort()
        let apps = TortureLoad.apps.map { app in
            """
              - bundle_id: \(app)
                key: {file: simulator/AuthKey.p8, key_id: \(key.keyID), team_id: \(key.teamID)}
                endpoint: {host: localhost, port: \(simulator.port), ca_file: simulator/ca.pem}
            """
        }
        try folder.write(
            """
            listen: {port: \(port)}
            store: {path: store}
            apps:
            \(apps.joined(separator: "\n"))
            delivery: {retry_base: 100ms, retry_cap: 2s, request_timeout: 3s}
            shutdown: {grace: 500ms}
            log: {level: warning}

            """, to: "godwit.yaml"
        )
        configuration = folder.file("godwit.yaml")
        url = "http://127.0.0.1:\(port)"
        self.events = events
        current = Mutex(nil)
    }

    func start() async throws {
        let process = try BenchProcess(
            BenchProcess.godwit, ["serve", "--config", configuration], environment: ["SWIFT_BACKTRACE": "enable=no"]
        )
        current.withLock { $0 = process }
        _ = try await process.waitForLine(containing: "godwit: ready on", seconds: 60)
        try note(.started)
    }

    /// `kill -9`.
    func kill() async throws {
        guard let process = current.withLock({ $0 }) else { return }
        try note(.killed)
        Foundation.kill(process.pid, SIGKILL)
        _ = try await process.waitForExit()
    }

    /// SIGTERM; a gateway that does not end is killed, and the log says so.
    func stop() async throws {
        guard let process = current.withLock({ $0 }) else { return }
        try note(.asked)
        Foundation.kill(process.pid, SIGTERM)
        let end = ContinuousClock.now + Self.patience
        while process.isRunning, .now < end { try await Task.sleep(for: .milliseconds(20)) }
        if process.isRunning { Foundation.kill(process.pid, SIGKILL) }
        try note(.stopped, status: Int(try await process.waitForExit()))
    }

    /// Notices an end that nobody has asked for.
    ///
    /// - Returns: whether it has ended.
    func hasDied() async throws -> Bool {
        guard let process = current.withLock({ $0 }), !process.isRunning else { return false }
        let status = Int(try await process.waitForExit())
        try note(.died, what: String(process.text.suffix(1000)), status: status)
        return true
    }

    /// Leaves nothing running, whatever happened before.
    func end() {
        guard let process = current.withLock({ $0 }), process.isRunning else { return }
        Foundation.kill(process.pid, SIGKILL)
    }

    private func note(_ kind: EventLine.Kind, what: String? = nil, status: Int? = nil) throws {
        try events.append([EventLine(at: TortureTime.now, kind: kind, what: what, status: status)])
    }
}
