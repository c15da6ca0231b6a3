/// The whole path, accept → queue → dispatch → APNs → outcome, in one thread, in virtual time and from one seed.
///
/// The decisions are the real ones: `DispatchStateMachine`, `OutcomeBuffer`, `DeliveryPolicy`, `VerdictTable`, `BatchLedger` and the
/// stored form. Around them are models: a store, processes that die and stand still, APNs with its connections, and
/// applications. Faults are drawn from the seed, then everything heals, and every accepted push has to come to its end.
/// The invariants are checked where things become true, by somebody who knows the truth.
package enum PathSimulation {
    /// - Parameters:
    ///   - steps: roughly how many pushes the applications send.
    ///   - bug: a mistake to be made on purpose.
    ///   - keepsTrace: whether the report has a line for each thing that happened.
    package static func run(
        seed: UInt64, steps: Int = 200, bug: PlantedBug? = nil, keepsTrace: Bool = false
    ) -> SimulationReport {
        let world = World(seed: seed, steps: steps, bug: bug, keepsTrace: keepsTrace)
        world.run()
        return SimulationReport(
            seed: seed, steps: steps, bug: bug, violation: world.checker.violation, faults: world.plan.faults,
            gateways: world.plan.gateways, hash: world.record.hash, events: world.events,
            virtualSeconds: Double(world.now) / Double(Ticks.second), pushes: world.checker.pushes,
            deliveries: world.checker.deliveries, duplicates: world.checker.duplicates,
            ambiguities: world.checker.ambiguities, trace: world.record.lines ?? []
        )
    }
}

/// What a run showed.
package struct SimulationReport: Sendable {
    package var seed: UInt64
    package var steps: Int
    package var bug: PlantedBug?
    /// nil: every invariant held.
    package var violation: Violation?
    package var faults: Set<Fault>
    package var gateways: Int
    /// Of everything that happened: the same for the same seed.
    package var hash: UInt64
    package var events: Int
    package var virtualSeconds: Double
    package var pushes: Int
    /// Pushes that APNs delivered, doubles included.
    package var deliveries: Int
    package var duplicates: Int
    /// Events after which nobody could know whether APNs has a push, or whether that was recorded.
    package var ambiguities: Int
    package var trace: [String]

    /// The command that does the same again.
    package var replayCommand: String {
        let bugOption = bug.map { " --bug \($0.rawValue)" } ?? ""
        return "godwit-lab simulate-path --seed \(seed) --steps \(steps)\(bugOption) --trace"
    }
}
