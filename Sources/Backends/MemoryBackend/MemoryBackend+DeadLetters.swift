package import PushModel
package import PushStore

extension MemoryBackend: DeadLetterStore {
    /// Dead letters that are handled under one hold of the lock, so that other calls run in between.
    private static let lettersPerStep = 500

    package func deadLetters(of app: AppID?, after: PushID?, limit: Int) throws(QueueError) -> [DeadLetter] {
        try perform { state, _ in state.deadLetters(of: app, after: after, limit: limit) }
    }

    package func deadLetter(_ id: PushID) throws(QueueError) -> (letter: DeadLetter, push: DeadLetterContent?)? {
        try perform { state, _ in
            state.letters[id].map { (letter: $0, push: state.deadPush(id)) }
        }
    }

    package func replay(_ selection: DeadLetterSelection, at now: WallTime) throws(QueueError) -> ReplayCount {
        try replay(selection, at: now, where: { _, _ in true })
    }

    package func replay(
        _ selection: DeadLetterSelection, at now: WallTime, where isAllowed: @escaping ReplayFilter
    ) throws(QueueError) -> ReplayCount {
        var refused = 0
        let replayed = try forEachStep(of: selection) { state, ids in
            let allowed = ids.filter { state.mayReplay($0, isAllowed) }
            refused +=
                ids.count(where: { state.letters[$0] != nil }) - allowed.count(where: { state.letters[$0] != nil })
            return state.replay(allowed, at: now)
        }
        return ReplayCount(replayed: replayed, refused: refused)
    }

    package func purge(_ selection: DeadLetterSelection) throws(QueueError) -> Int {
        try forEachStep(of: selection) { state, ids in state.purge(ids) }
    }

    /// Runs `step` on the dead letters of a selection, in bounded steps.
    ///
    /// - Returns: the sum of the results of `step`.
    private func forEachStep(
        of selection: DeadLetterSelection, _ step: (inout MemoryState, [PushID]) -> Int
    ) throws(QueueError) -> Int {
        var total = 0
        switch selection {
        case .ids(let ids):
            let ids = Set(ids).sorted()
            for start in stride(from: 0, to: ids.count, by: Self.lettersPerStep) {
                let some = Array(ids[start..<min(start + Self.lettersPerStep, ids.count)])
                total += try perform { state, _ in step(&state, some) }
            }
        case .app(let app):
            var after: PushID?
            repeat {
                let (done, last) = try perform { state, _ in
                    let letters = state.deadLetters(of: app, after: after, limit: Self.lettersPerStep)
                    return (step(&state, letters.map(\.id)), letters.last?.id)
                }
                total += done
                after = last
            } while after != nil
        }
        return total
    }
}
