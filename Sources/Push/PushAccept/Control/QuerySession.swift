import APNSWire
import DequeModule
import NIOCore
import PushConcurrency
import PushModel
import Synchronization

/// One query by lines: the ids that were read and not looked up yet.
///
/// As in a bulk request, reading does not wait for writing: a client may send the whole body before it reads anything.
/// Ids are small, so a million of them may wait.
final class QuerySession: Sendable {
    enum Entry: Sendable {
        case id(PushID)
        /// The line with this number is not an id.
        case invalid(Int)
        /// The rest of the body is not read, for this reason.
        case end(ErrorCode, String)
    }

    fileprivate struct State: ~Copyable {
        var framer: ItemFramer
        var share: HeldShare
        var lines = 0
        var waiting: Deque<Entry> = []
        var hasEnded = false

        mutating func countBytes() { share.set(waiting.count * MemoryLayout<Entry>.stride) }
    }

    private static let waitingMax = 1_000_000
    /// Ids that may wait for the client while held bytes are scarce.
    private static let scarceWaitingMax = 2_000

    private let held: HeldBytes
    private let state: Mutex<State>
    /// Set after each change of `state`.
    private let entriesAvailable = AsyncSignal()

    init(configuration: AcceptConfiguration, held: HeldBytes) {
        self.held = held
        state = Mutex(
            State(
                framer: ItemFramer(format: .lines, itemBytesMax: configuration.itemBytesMax),
                share: HeldShare(of: held)
            )
        )
    }

    /// Reads until the end of the body, or until too many ids wait.
    func read(_ input: RequestInput) async {
        while true {
            let chunk: ByteBuffer
            do {
                guard let next = try await input.next() else { break }
                chunk = next
            } catch {
                state.withLock { $0.cutOff() }
                break
            }
            let isFull = state.withLock { state in
                chunk.withUnsafeReadableBytes { state.feed($0) }
                let isFull = state.waiting.count > (held.isScarce ? Self.scarceWaitingMax : Self.waitingMax)
                state.countBytes()
                if isFull {
                    state.waiting.append(
                        .end(.queueFull, "too many results wait to be read; query again from this line on"))
                }
                return isFull
            }
            entriesAvailable.set()
            if isFull { break }
        }
        state.withLock { $0.end() }
        entriesAvailable.set()
    }

    /// Stops reading, because this instance is stopping.
    func stop() {
        state.withLock { state in
            if !state.hasEnded {
                state.waiting.append(
                    .end(.shuttingDown, "this instance is stopping; query another instance from this line on"))
            }
        }
        entriesAvailable.set()
    }

    /// Waits for the next entries and removes them.
    ///
    /// - Returns: nil at the end of the body.
    func nextEntries(max: Int) async -> [Entry]? {
        while true {
            let (entries, hasEnded) = state.withLock { state in
                let entries = Array(state.waiting.prefix(max))
                state.waiting.removeFirst(entries.count)
                state.countBytes()
                return (entries, state.hasEnded)
            }
            if !entries.isEmpty { return entries }
            if hasEnded { return nil }
            await entriesAvailable.waitIgnoringCancellation()
        }
    }
}

extension QuerySession.State {
    fileprivate mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        var framer = self.framer
        framer.feed(bytes) { append($0) }
        self.framer = framer
    }

    fileprivate mutating func end() {
        guard !hasEnded else { return }
        hasEnded = true
        var framer = self.framer
        if framer.end(isCutOff: false, { append($0) }) != .clean { waiting.append(.invalid(lines)) }
        self.framer = framer
    }

    /// Ends the input within the body: an incomplete last line is not looked up.
    fileprivate mutating func cutOff() {
        guard !hasEnded else { return }
        hasEnded = true
        waiting.append(
            .end(.truncatedStream, "the connection closed before the body was complete; query again from this line on"))
    }

    private mutating func append(_ item: ItemFramer.Item) {
        defer { lines += 1 }
        if case .bytes(let bytes) = item, let id = Self.id(in: bytes) {
            waiting.append(.id(id))
        } else {
            waiting.append(.invalid(lines))
        }
    }

    /// The id of a line: bare or in double quotes, with optional white space around it.
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
