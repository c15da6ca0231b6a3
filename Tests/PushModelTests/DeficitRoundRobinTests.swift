import PushModel
import Testing

@Suite struct `Deficit round robin` {
    /// The keys of the next `count` turns, if all items of a key have the same size.
    private func next(
        _ count: Int, _ turns: inout DeficitRoundRobin<String>, sizes: [String: Int]
    ) -> [String] {
        (0..<count).compactMap { _ in turns.next(among: sizes.keys.sorted()) { sizes[$0] } }
    }

    @Test func `gives each key the same amount, regardless of item size`() {
        var turns = DeficitRoundRobin<String>(quantum: 500)
        let sizes = ["large": 1000, "middle": 300, "small": 1]
        var amounts: [String: Int] = [:]
        for key in next(20_000, &turns, sizes: sizes) { amounts[key, default: 0] += sizes[key]! }
        let (least, most) = (amounts.values.min()!, amounts.values.max()!)
        #expect(amounts.count == 3)
        #expect(most - least <= 1000 + 500)
    }

    @Test func `continues after the last key`() {
        var turns = DeficitRoundRobin<String>(quantum: 10)
        #expect(next(7, &turns, sizes: ["a": 10, "b": 10, "c": 10]) == ["a", "b", "c", "a", "b", "c", "a"])
        #expect(next(2, &turns, sizes: ["a": 10, "b": 10, "c": 10]) == ["b", "c"])
    }

    @Test func `serves an item larger than a quantum after several rounds`() {
        var turns = DeficitRoundRobin<String>(quantum: 10)
        #expect(next(12, &turns, sizes: ["big": 100, "x": 1]).firstIndex(of: "big") == nil)
        #expect(next(100, &turns, sizes: ["big": 100, "x": 1]).contains("big"))
        #expect(next(2, &turns, sizes: ["alone": 1000]) == ["alone", "alone"])
    }

    @Test func `an idle key accumulates no credit`() {
        var turns = DeficitRoundRobin<String>(quantum: 10)
        for _ in 0..<50 {
            #expect(turns.next(among: ["a", "idle"]) { $0 == "a" ? 10 : nil } == "a")
        }
        // "idle" has items again: one quantum, then the other key is served.
        let next = (0..<4).compactMap { _ in turns.next(among: ["a", "idle"]) { _ in 10 } }
        #expect(next == ["idle", "a", "idle", "a"])
    }

    @Test func `keys may be added and removed, including the current one`() {
        var turns = DeficitRoundRobin<String>(quantum: 10)
        #expect(turns.next(among: ["b"]) { _ in 5 } == "b")
        #expect(turns.next(among: ["a", "c"]) { _ in 10 } == "c")
        #expect(turns.next(among: ["a", "b", "c"]) { _ in 10 } == "a")
    }

    @Test func `returns nil if no key has an item`() {
        var turns = DeficitRoundRobin<String>(quantum: 10)
        #expect(turns.next(among: []) { _ in 1 } == nil)
        var asked: [String] = []
        let none = turns.next(among: ["a", "b", "c"]) { key in
            asked.append(key)
            return nil
        }
        #expect(none == nil)
        #expect(asked == ["a", "b", "c"])
    }
}
