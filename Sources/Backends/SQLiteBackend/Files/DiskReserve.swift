import Foundation

/// Disk space reserved in advance, so that the database can be opened and outcomes can be recorded when the disk is full:
/// SQLite has to write a little to open a database, and a checkpoint may extend it.
struct DiskReserve: Sendable {
    /// Opening needs some tens of KiB; the rest is for outcomes until there is free space again.
    static let bytes = 4 << 20
    /// With less free space the disk counts as full.
    static let neededBytes = 1 << 20

    private let folder: String
    private var path: String { folder + "/godwit.reserve" }

    init(folder: String) {
        self.folder = folder
    }

    var isDiskFull: Bool { Disk.bytesFree(folder).map { $0 < Self.neededBytes } ?? false }

    var isHeld: Bool { FileIdentity(path: path) != nil }

    /// Releases the space if the disk is full.
    ///
    /// - Returns: whether any was reserved.
    func release() -> Bool {
        isDiskFull && unlink(path) == 0
    }

    /// Reserves the space if it is not reserved and enough is free.
    func renew() {
        guard !isHeld, let free = Disk.bytesFree(folder), free >= 4 * Self.bytes else { return }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        // A partial reserve would look like a complete one.
        if posix_fallocate(descriptor, 0, off_t(Self.bytes)) != 0 { unlink(path) }
    }
}
