import APNSWire
import Synchronization

/// Collects the answers to one batch, for a task that waits for them.
final class AnswerCollector: APNSAnswerReceiver {
    struct Collected: Sendable {
        var answers: [APNSAnswer]
        var unknownReasons: [UInt16: String] = [:]
    }

    private struct State {
        var collected: Collected
        var isComplete = false
        var continuation: CheckedContinuation<Collected, Never>?
    }

    private let state: Mutex<State>

    init(count: Int) {
        // Stays only for pushes that are written and not answered when the task is cancelled.
        let answers = [APNSAnswer](repeating: .failed(.cancelled, .ambiguous), count: count)
        state = Mutex(State(collected: Collected(answers: answers)))
    }

    func receive(_ answers: APNSAnswers) {
        let waiting = state.withLock { state -> (CheckedContinuation<Collected, Never>, Collected)? in
            guard !state.isComplete else { return nil }
            for (index, answer) in zip(answers.indexes, answers.answers) {
                state.collected.answers[Int(index)] = answer
            }
            state.collected.unknownReasons.merge(answers.unknownReasons) { _, new in new }
            return answers.isLast ? Self.complete(&state) : nil
        }
        if let (continuation, collected) = waiting { continuation.resume(returning: collected) }
    }

    /// Ends the wait because its task was cancelled; later answers are ignored.
    func endWait() {
        let waiting = state.withLock { state in state.isComplete ? nil : Self.complete(&state) }
        if let (continuation, collected) = waiting { continuation.resume(returning: collected) }
    }

    /// Waits for the last answer, or for `endWait`. To be called once.
    func collected() async -> Collected {
        await withCheckedContinuation { continuation in
            let collected = state.withLock { state -> Collected? in
                if state.isComplete { return state.collected }
                state.continuation = continuation
                return nil
            }
            if let collected { continuation.resume(returning: collected) }
        }
    }

    private static func complete(_ state: inout State) -> (CheckedContinuation<Collected, Never>, Collected)? {
        state.isComplete = true
        defer { state.continuation = nil }
        return state.continuation.map { ($0, state.collected) }
    }
}
