import NIOCore

/// Answers that wait for the same span of time, and so in the order they came.
struct HeldAnswers {
    struct Answer {
        var due: NIODeadline
        var slot: Int
        var stream: Int32
        var answer: APNSSimulator.Answer
    }

    // Bounded by the number of concurrent streams.
    private var answers: [Answer] = []
    private var head = 0

    var firstDue: NIODeadline? { head < answers.count ? answers[head].due : nil }

    /// - Returns: true when it is the only one, that is, when somebody must be woken for it.
    mutating func append(_ answer: Answer) -> Bool {
        answers.append(answer)
        return answers.count - head == 1
    }

    mutating func removeFirst(dueBy now: NIODeadline) -> Answer? {
        guard head < answers.count, answers[head].due <= now else { return nil }
        defer {
            head += 1
            if head == answers.count {
                answers.removeAll(keepingCapacity: true)
                head = 0
            } else if head >= 4096 {
                answers.removeFirst(head)
                head = 0
            }
        }
        return answers[head]
    }
}
