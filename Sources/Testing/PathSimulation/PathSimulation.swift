/// Simulates the whole path (accept, queue, dispatch, APNs, outcome) in one thread, in virtual time and from one seed.
///
/// The decisions are made by the code of the gateway: `DispatchStateMachine`, `OutcomeBuffer`, `DeliveryPolicy`,
/// `VerdictTable`, `BatchLedger` and the stored form. Around them are models of a store, of processes that crash and
/// pause, of APNs with its connections, and of applications. Faults follow from the seed. Then all faults end, and
/// every accepted push must be settled. `Checker` compares each event with the ground truth of the models.
package enum PathSimulation {
    /// - Parameters:
    ///   - steps: roughly how many pushes the applications send.
    ///   - bug: a bug planted in the models, to show that the checks find it.
    ///   - keepsTrace: whether the report contains a line for each event.
    package static func run(
        seed: UInt64, steps: Int = 200, bug: PlantedBug? = nil, keepsTrace: Bool = false
    ) -> SimulationReport {
        let simulation = Simulation(seed: seed, steps: steps, bug: bug, keepsTrace: keepsTrace)
        simulation.run()
        return SimulationReport(
            seed: seed, steps: steps, bug: bug, violation: simulation.checker.violation, faults: simulation.plan.faults,
            gateways: simulation.plan.gateways, hash: simulation.eventTrace.hash, events: simulation.events,
            virtualSeconds: Double(simulation.now) / Double(Ticks.second), pushes: simulation.checker.pushes,
            deliveries: simulation.checker.deliveries, duplicates: simulation.checker.duplicates,
            ambiguities: simulation.checker.ambiguities, trace: simulation.eventTrace.lines ?? []
        )
    }
}

/// The result of one run.
package struct SimulationReport: Sendable {
    package var seed: UInt64
    package var steps: Int
    package var bug: PlantedBug?
    /// nil if every invariant held.
    package var violation: Violation?
    package var faults: Set<InjectedFault>
    package var gateways: Int
    /// The hash of all events: equal for equal seeds.
    package var hash: UInt64
    package var events: Int
    package var virtualSeconds: Double
    package var pushes: Int
    /// Pushes that APNs delivered, duplicates included.
    package var deliveries: Int
    package var duplicates: Int
    /// Events after which a gateway cannot know whether APNs has a push, or whether the answer was recorded.
    package var ambiguities: Int
    package var trace: [String]

    /// The command that repeats the run.
    package var replayCommand: String {
        let bugOption = bug.map { " --bug \($0.rawValue)" } ?? ""
        return "godwit-lab simulate-path --seed \(seed) --steps \(steps)\(bugOption) --trace"
    }
}
