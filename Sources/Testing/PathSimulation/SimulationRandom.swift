import PushModel

/// The one source of chance in a run: same seed, same run.
struct SimulationRandom: RandomNumberGenerator {
    private var generator: SeededGenerator

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
    }

    mutating func next() -> UInt64 { generator.next() }

    /// 0 to 1, without 1.
    mutating func unit() -> Double { generator.draw() }

    mutating func chance(_ probability: Double) -> Bool { probability > 0 && unit() < probability }

    /// Evenly from `range`; the bias of the remainder does not matter here.
    mutating func within(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(next() % UInt64(range.count))
    }

    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[within(0...elements.count - 1)] }

    /// Around `mean`, never negative, with a long tail: as waiting times are.
    mutating func around(_ mean: Ticks) -> Ticks {
        let draw = unit()
        return Int(Double(mean) * (0.5 + draw * draw * draw * 3))
    }
}
