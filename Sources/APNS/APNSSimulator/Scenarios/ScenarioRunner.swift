import NIOCore
import Synchronization

/// Plays a scenario: changes settings and token rules when phases start and end.
///
/// Fault rules are set once, at the start, because they contain their own times.
final class ScenarioRunner: Sendable {
    /// The scenario that is playing, and its progress.
    struct Status: Sendable {
        var scenario: Scenario
        /// UNIX milliseconds.
        var since: Int64
        var elapsed: Duration
        var phases: [String]
    }

    private struct Playing {
        var scenario: Scenario
        var since: Int64
        var start: NIODeadline
        /// The settings from before the scenario.
        var base: SimulatorSettings
        var timer: Scheduled<Void>?
    }

    private struct Record {
        var playing: Playing?
        /// Counts scenarios. A timer of an earlier scenario does nothing.
        var generation = 0
    }

    private let state: SimulatorState
    private let loop: any EventLoop
    private let record = Mutex(Record())

    init(_ state: SimulatorState, on loop: any EventLoop) {
        self.state = state
        self.loop = loop
    }

    /// Ends the current scenario and starts `scenario`.
    func play(_ scenario: Scenario) {
        stop()
        let generation = record.withLock { record in
            record.generation += 1
            record.playing = Playing(
                scenario: scenario, since: state.configuration.clock(), start: .now(), base: state.settings
            )
            return record.generation
        }
        state.setFaults(scenario.plan)
        advance(generation)
    }

    /// Ends the current scenario: restores the settings from before it, and removes all faults and token rules.
    func stop() {
        let ended = record.withLock { record in
            defer { record.playing = nil }
            return record.playing
        }
        guard let ended else { return }
        ended.timer?.cancel()
        state.setSettings(ended.base)
        state.setFaults(FaultPlan())
        state.setTokenRules([])
    }

    var status: Status? {
        record.withLock { record in
            guard let playing = record.playing else { return nil }
            let elapsed = Duration.nanoseconds((NIODeadline.now() - playing.start).nanoseconds)
            return Status(
                scenario: playing.scenario, since: playing.since, elapsed: elapsed,
                phases: playing.scenario.activePhases(elapsed).map(\.name)
            )
        }
    }

    private func advance(_ generation: Int) {
        let playing = record.withLock { $0.generation == generation ? $0.playing : nil }
        guard let playing else { return }
        let elapsed = Duration.nanoseconds((NIODeadline.now() - playing.start).nanoseconds)
        state.setSettings(playing.scenario.settings(elapsed, from: playing.base))
        state.setTokenRules(playing.scenario.tokens(elapsed))
        guard let next = playing.scenario.nextChange(after: elapsed) else { return }
        let timer = loop.scheduleTask(deadline: playing.start + TimeAmount(next)) { self.advance(generation) }
        let isCurrent = record.withLock { record in
            guard record.generation == generation, record.playing != nil else { return false }
            record.playing?.timer = timer
            return true
        }
        if !isCurrent { timer.cancel() }
    }
}
