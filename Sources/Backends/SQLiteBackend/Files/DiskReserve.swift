import Foundation

/// Room on the disk that is set aside while there is plenty, so that a store that filled its disk, or whose disk others
/// filled, can be opened again: SQLite cannot open a database without writing a little beside it.
struct DiskReserve: Sendable {
    /// A start needs some tens of KiB; the rest is for what is settled until there is room again.
    static let bytes = 4 << 20
    /// Less is taken for a full disk.
    static let needed = 1 << 20

    private let folder: String
    private var path: String { folder + "/godwit.reserve" }

    init(folder: String) {
        self.folder = folder
    }

    var isDiskFull: Bool { Disk.bytesFree(folder).map { $0 < Self.needed } ?? false }

    /// Gives the room back when the disk is full.
    ///
    /// - Returns: whether there was any.
    func release() -> Bool {
        isDiskFull && unlink(path) == 0
    }

    /// Sets the room aside if it is not, and there is plenty.
    func renew() {
        guard FileIdentity(path: path) == nil, let free = Disk.bytesFree(folder), free >= 4 * Self.bytes else { return }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        // Half a reserve would look like a whole one.
        if posix_fallocate(descriptor, 0, off_t(Self.bytes)) != 0 { unlink(path) }
    }
}
