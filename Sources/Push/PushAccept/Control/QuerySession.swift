import APNSWire
import DequeModule
import NIOCore
import PushConcurrency
import PushModel
import Synchronization

/// One query by lines: the ids that were read and not answered yet.
///
/// Like a bulk request it never lets reading wait for writing; ids are small, so a million of them may wait.
final class QuerySession: Sendable {
    enum Question: Sendable {
        case id(PushID)
        /// The line of this number is not an id.
        case invalid(Int)
        /// Nothing after this is read, for this reason.
        case end(ErrorCode, String)
    }

    fileprivate struct State {
        var framer: ItemFramer
        var lines = 0
        var waiting: Deque<Question> = []
        var hasEnded = false
    }

    private static let waitingMax = 1_000_000

    private let state: Mutex<State>
    /// Set after each change of `state`.
    private let questionsAvailable = AsyncSignal()

    init(configuration: AcceptConfiguration) {
        state = Mutex(State(framer: ItemFramer(format: .lines, itemBytesMax: configuration.itemBytesMax)))
    }

    /// Reads until the body is over, or until too many ids wait.
    func read(_ input: RequestInput) async {
        while let chunk = try? await input.next() {
            let isFull = state.withLock { state in
                chunk.withUnsafeReadableBytes { state.feed($0) }
                let isFull = state.waiting.count > Self.waitingMax
                if isFull {
                    state.waiting.append(.end(.queueFull, "too many answers wait to be read; ask again from here on"))
                }
                return isFull
            }
            questionsAvailable.set()
            if isFull { break }
        }
        state.withLock { $0.end() }
        questionsAvailable.set()
    }

    /// Reads no more: this instance is stopping.
    func stop() {
        state.withLock { state in
            if !state.hasEnded { state.waiting.append(.end(.shuttingDown, "ask another instance from here on")) }
        }
        questionsAvailable.set()
    }

    /// The next questions; nil once all have been taken.
    func nextQuestions(max: Int) async -> [Question]? {
        while true {
            let (questions, hasEnded) = state.withLock { state in
                let questions = Array(state.waiting.prefix(max))
                state.waiting.removeFirst(questions.count)
                return (questions, state.hasEnded)
            }
            if !questions.isEmpty { return questions }
            if hasEnded { return nil }
            await questionsAvailable.waitIgnoringCancellation()
        }
    }
}

extension QuerySession.State {
    fileprivate mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        var framer = self.framer
        framer.feed(bytes) { take($0) }
        self.framer = framer
    }

    fileprivate mutating func end() {
        guard !hasEnded else { return }
        hasEnded = true
        var framer = self.framer
        if framer.end(isCutOff: false, { take($0) }) != .clean { waiting.append(.invalid(lines)) }
        self.framer = framer
    }

    private mutating func take(_ item: ItemFramer.Item) {
        defer { lines += 1 }
        if case .bytes(let bytes) = item, let id = Self.id(in: bytes) {
            waiting.append(.id(id))
        } else {
            waiting.append(.invalid(lines))
        }
    }

    /// An id alone, in quotes, or with white space around it.
    private static func id(in bytes: UnsafeRawBufferPointer) -> PushID? {
        var range = bytes.indices
        func trim(_ isTrimmed: (UInt8) -> Bool) {
            while let first = range.first, isTrimmed(bytes[first]) { range = range.dropFirst() }
            while let last = range.last, isTrimmed(bytes[last]) { range = range.dropLast() }
        }
        trim { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
        if range.count >= 2, bytes[range.lowerBound] == UInt8(ascii: "\""),
            bytes[range.upperBound - 1] == UInt8(ascii: "\"")
        {
            range = range.dropFirst().dropLast()
        }
        return APNSID(utf8: UnsafeRawBufferPointer(rebasing: bytes[range])).map(PushID.init)
    }
}
