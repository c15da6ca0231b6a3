import PushModel
import PushStore

/// The batches of one bulk request to which pushes are added.
///
/// There is one for each combination of app, environment, lane, due window and policy, so a request with many due times
/// has many. Their number and their bytes are bounded; beyond a bound one batch is closed, the fullest, so that the
/// others can still grow. Pure.
struct OpenBatches {
    struct Entry {
        /// Grows in the order in which the batches are opened.
        let slot: Int
        var batch: BatchBuilder
    }

    static let countMax = 256

    private let bytesMax: Int
    private var entries: [Entry] = []
    private var indexes: [BatchKey: Int] = [:]
    /// The index of the selected batch; consecutive pushes usually have the same key.
    private var selected = 0
    private var pushes = 0
    /// The bytes of all batches together.
    private(set) var bytes = 0

    /// - Parameter bytesMax: limit of the bytes of all batches together.
    init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    var isEmpty: Bool { entries.isEmpty }

    /// Selects the batch with this key for the next `append`.
    ///
    /// - Returns: false if there is none.
    mutating func select(_ key: BatchKey) -> Bool {
        if selected < entries.count, entries[selected].batch.key == key { return true }
        guard let index = indexes[key] else { return false }
        selected = index
        return true
    }

    /// Opens a batch and selects it. There must be none with its key.
    ///
    /// - Returns: the batch that is closed to make capacity for it, if there are too many.
    mutating func open(_ entry: Entry) -> Entry? {
        let closed = entries.count == Self.countMax ? closeFullest() : nil
        selected = entries.count
        indexes[entry.batch.key] = selected
        entries.append(entry)
        return closed
    }

    /// Appends the push that `parser` has just parsed to the selected batch.
    ///
    /// - Returns: the slot of the batch, and the index of the push in it.
    mutating func append(
        _ push: ParsedPush, from input: UnsafeRawBufferPointer, by parser: PushParser
    ) -> (slot: Int, push: Int) {
        bytes -= entries[selected].batch.byteCount
        let index = entries[selected].batch.append(push, from: input, by: parser)
        bytes += entries[selected].batch.byteCount
        pushes += 1
        return (entries[selected].slot, index)
    }

    /// Closes the selected batch if it has reached a limit, or the fullest one if all together have too many bytes.
    mutating func closeFull(pushesMax: Int, bytesMax: Int) -> Entry? {
        if entries[selected].batch.count >= pushesMax || entries[selected].batch.byteCount >= bytesMax {
            return close(at: selected)
        }
        return bytes > self.bytesMax ? closeFullest() : nil
    }

    /// Closes batches that have about `pushes` pushes together: the oldest one, so that no result waits forever, and the
    /// fullest ones.
    ///
    /// - Returns: the batches in the order in which they were opened.
    mutating func close(pushes count: Int) -> [Entry] {
        if pushes <= count { return closeAll() }
        let order = entries.indices.sorted { Self.isFuller(entries[$0], entries[$1]) }
        let oldest = entries.indices.min { entries[$0].slot < entries[$1].slot }
        var chosen: Set<Int> = []
        var left = count
        for index in [oldest].compactMap({ $0 }) + order where left > 0 && chosen.insert(index).inserted {
            left -= entries[index].batch.count
        }
        let closed = chosen.map { entries[$0] }
        let kept = entries.indices.filter { !chosen.contains($0) }.map { entries[$0] }
        _ = closeAll()
        for entry in kept { restore(entry) }
        return closed.sorted { $0.slot < $1.slot }
    }

    /// Closes all batches.
    ///
    /// - Returns: the batches in the order in which they were opened.
    mutating func closeAll() -> [Entry] {
        defer {
            entries = []
            indexes = [:]
            selected = 0
            pushes = 0
            bytes = 0
        }
        return entries.sorted { $0.slot < $1.slot }
    }

    private mutating func restore(_ entry: Entry) {
        indexes[entry.batch.key] = entries.count
        entries.append(entry)
        pushes += entry.batch.count
        bytes += entry.batch.byteCount
    }

    private mutating func closeFullest() -> Entry? {
        entries.indices.min { Self.isFuller(entries[$0], entries[$1]) }.map { close(at: $0) }
    }

    private static func isFuller(_ a: Entry, _ b: Entry) -> Bool {
        (b.batch.count, a.slot) < (a.batch.count, b.slot)
    }

    private mutating func close(at index: Int) -> Entry {
        entries.swapAt(index, entries.count - 1)
        let closed = entries.removeLast()
        indexes[closed.batch.key] = nil
        if index < entries.count { indexes[entries[index].batch.key] = index }
        pushes -= closed.batch.count
        bytes -= closed.batch.byteCount
        return closed
    }
}
