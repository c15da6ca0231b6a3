import APNSSimulator
import Foundation
import GodwitCLI
import Synchronization

/// A gateway process that can be killed, stopped and restarted on the same store. Logs all of that as events.
final class TortureGateway: Sendable {
    /// Longer than any drain may take.
    private static let stopTimeout: Duration = .seconds(40)

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
        try logEvent(.started)
    }

    /// `kill -9`.
    func kill() async throws {
        guard let process = current.withLock({ $0 }) else { return }
        try logEvent(.killed)
        Foundation.kill(process.pid, SIGKILL)
        _ = try await process.waitForExit()
    }

    /// Sends SIGTERM, waits for the exit and logs its status. A gateway that does not exit in time is killed.
    func stop() async throws {
        guard let process = current.withLock({ $0 }) else { return }
        try logEvent(.stopRequested)
        Foundation.kill(process.pid, SIGTERM)
        let end = ContinuousClock.now + Self.stopTimeout
        while process.isRunning, .now < end { try await Task.sleep(for: .milliseconds(20)) }
        if process.isRunning { Foundation.kill(process.pid, SIGKILL) }
        try logEvent(.stopped, status: Int(try await process.waitForExit()))
    }

    /// Logs an exit that the run did not cause, and starts the gateway again. Does nothing if it runs.
    func restartAfterCrash() async throws {
        guard let process = current.withLock({ $0 }), !process.isRunning else { return }
        let status = Int(try await process.waitForExit())
        try logEvent(.crashed, detail: String(process.text.suffix(1000)), status: status)
        try await start()
    }

    /// Kills the process if it runs, without an event.
    func terminate() {
        guard let process = current.withLock({ $0 }), process.isRunning else { return }
        Foundation.kill(process.pid, SIGKILL)
    }

    private func logEvent(_ kind: EventLine.Kind, detail: String? = nil, status: Int? = nil) throws {
        try events.append([EventLine(at: TortureTime.now, kind: kind, detail: detail, status: status)])
    }
}
