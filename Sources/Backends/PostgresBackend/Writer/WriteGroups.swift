#if Postgres
import PushConcurrency
import Synchronization

/// Collects calls while earlier ones are executed, so that all that wait become one write.
///
/// A lane executes one group after the other. With one lane, calls take effect in the order of their submission.
final class WriteGroups<Item: Sendable>: Sendable {
    private struct State {
        var waiting: [Item] = []
        var idleLanes: [Int]
        var drains: [CheckedContinuation<Void, Never>] = []
    }

    private let lanes: Int
    private let countMax: Int
    private let weightMax: Int
    private let weight: @Sendable (Item) -> Int
    private let run: @Sendable (_ lane: Int, [Item]) async -> Void
    private let state: Mutex<State>

    /// - Parameters:
    ///   - countMax: items of a group.
    ///   - weightMax: of a group, unless it has a single item.
    ///   - run: executes a group. It completes each item.
    init(
        lanes: Int, countMax: Int, weightMax: Int = .max, weight: @escaping @Sendable (Item) -> Int = { _ in 0 },
        run: @escaping @Sendable (_ lane: Int, [Item]) async -> Void
    ) {
        self.lanes = lanes
        self.countMax = countMax
        self.weightMax = weightMax
        self.weight = weight
        self.run = run
        state = Mutex(State(idleLanes: Array(0..<lanes)))
    }

    func submit(_ item: Item) {
        let lane = state.withLock { state in
            state.waiting.append(item)
            return state.idleLanes.popLast()
        }
        guard let lane else { return }
        inBackground { await self.work(lane) }
    }

    /// Returns when no item waits or is being executed.
    func drain() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                if state.waiting.isEmpty, state.idleLanes.count == lanes { return true }
                state.drains.append(continuation)
                return false
            }
            if isIdle { continuation.resume() }
        }
    }

    private func work(_ lane: Int) async {
        while let group = next(lane) { await run(lane, group) }
    }

    private func next(_ lane: Int) -> [Item]? {
        let (group, drains) = state.withLock { state -> ([Item]?, [CheckedContinuation<Void, Never>]) in
            guard !state.waiting.isEmpty else {
                state.idleLanes.append(lane)
                guard state.idleLanes.count == lanes else { return (nil, []) }
                defer { state.drains = [] }
                return (nil, state.drains)
            }
            var count = 1
            var total = weight(state.waiting[0])
            while count < min(countMax, state.waiting.count) {
                total += weight(state.waiting[count])
                guard total <= weightMax else { break }
                count += 1
            }
            let group = Array(state.waiting[..<count])
            state.waiting.removeFirst(count)
            return (group, [])
        }
        for drain in drains { drain.resume() }
        return group
    }
}
#endif
