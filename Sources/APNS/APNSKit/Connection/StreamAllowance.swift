/// How many streams a connection opens on its own account, below the server's limit. Pure.
///
/// A server that refuses streams cannot serve as many as it announced. Without an allowance, a connection would write
/// all waiting pushes to it again and again. The allowance halves when streams are refused, and grows with each answer:
/// fast up to the size at which streams were last refused, slowly beyond (as in TCP's congestion control, RFC 5681).
package struct StreamAllowance {
    /// Streams that may be open.
    package private(set) var count: Int
    /// Above this, the allowance grows slowly.
    private var threshold = Int.max
    /// Answers since the last slow growth.
    private var answers = 0
    /// Refusals of streams up to this ID are due to an allowance that was reduced already.
    private var coveredStream: Int32 = 0

    /// - Parameter isCautious: whether the previous connection was left because it refused streams.
    package init(isCautious: Bool) {
        count = isCautious ? 1 : .max
    }

    package mutating func answered() {
        guard count < .max else { return }
        answers += 1
        guard count < threshold || answers >= count else { return }
        answers = 0
        count += 1
    }

    /// - Parameters:
    ///   - open: streams that are open.
    ///   - lastStream: the last stream that was opened.
    package mutating func refused(_ stream: Int32, open: Int, lastStream: Int32) {
        guard stream > coveredStream else { return }
        coveredStream = lastStream
        count = max(1, min(count, open) / 2)
        threshold = count
    }
}
