import PushModel

/// The only random source of a run, so that equal seeds lead to equal runs.
struct SimulationRandom: RandomNumberGenerator {
    private var generator: SeededGenerator

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
    }

    mutating func next() -> UInt64 { generator.next() }

    /// Uniform in 0..<1.
    mutating func unit() -> Double { generator.nextUnit() }

    mutating func chance(_ probability: Double) -> Bool { probability > 0 && unit() < probability }

    /// Uniform in `range`, apart from a negligible modulo bias.
    mutating func within(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(next() % UInt64(range.count))
    }

    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[within(0...elements.count - 1)] }

    /// A latency: at least half of `mean`, with a long tail up to 3.5 times `mean`.
    mutating func around(_ mean: Ticks) -> Ticks {
        let sample = unit()
        return Int(Double(mean) * (0.5 + sample * sample * sample * 3))
    }
}
