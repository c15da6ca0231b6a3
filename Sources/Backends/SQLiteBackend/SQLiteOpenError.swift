/// Why the database cannot be opened. The description is one line for an operator and names the path.
package enum SQLiteOpenError: Error, Equatable, CustomStringConvertible {
    case notAFolder(String)
    case folderNotWritable(String, reason: String)
    /// On network file systems, locks and syncs do not provide what durability requires.
    case notLocal(String, fileSystem: String)
    /// Another process holds the lock. `processID` is read from its lock file, if possible.
    case inUse(String, processID: Int?)
    /// A takeover is refused: the owner's last heartbeat is `since` old, less than `needed`.
    case ownerAlive(String, processID: Int?, since: Duration, needed: Duration)
    case notADatabase(String)
    /// An SQLite database of another program.
    case foreignDatabase(String)
    case newerSchema(String, found: Int, supported: Int)
    /// A database of a development build from before the first release.
    case unreleasedSchema(String, found: Int)
    case diskFull(String, bytesFree: Int, reason: String)
    /// SQLite could not create its write-ahead log. It gives no reason, only the journal mode that it stays in.
    case noLog(String, mode: String)
    /// SQLite did not accept a setting that durability requires.
    case notDurable(String, setting: String, found: String, wanted: String)
    /// Acknowledged writes are missing. `finding` is a clause about the files.
    case writesMissing(String, finding: String)
    case failed(String, reason: String)

    /// SQLite's message, for errors that a full disk can cause.
    var reasonOnFullDisk: String? {
        switch self {
        case .failed(_, let reason): reason
        case .noLog(_, let mode): "journal_mode is \(mode)"
        default: nil
        }
    }

    package var description: String {
        switch self {
        case .notAFolder(let path):
            "\(path) is not a folder: the database needs a folder of its own"
        case .folderNotWritable(let path, let reason):
            "\(path) is not writable: \(reason)"
        case .notLocal(let path, let fileSystem):
            "\(path) is on a network file system (\(fileSystem)): the database needs a local disk"
        case .inUse(let path, let processID):
            """
            the database in \(path) is in use by another process\(processID.map { " (\($0))" } ?? ""): \
            stop that process first
            """
        case .ownerAlive(let path, let processID, let since, let needed):
            """
            the database in \(path) is in use by another process\(processID.map { " (\($0))" } ?? ""): its last \
            heartbeat is \(since.components.seconds) s old and a takeover requires \(needed.components.seconds) s; \
            try again in \(max(1, needed.components.seconds - since.components.seconds)) s, or stop that process
            """
        case .notADatabase(let path):
            "\(path) is not an SQLite database: move it away or choose another folder"
        case .foreignDatabase(let path):
            "\(path) is a database of another program: move it away or choose another folder"
        case .newerSchema(let path, let found, let supported):
            """
            \(path) has schema \(found) of a newer Godwit, this version supports up to \(supported): start the newer \
            version
            """
        case .unreleasedSchema(let path, let found):
            """
            \(path) has schema \(found) of a version before the first release, which this version cannot read: drain it \
            with the version that made it, or move it away
            """
        case .diskFull(let path, let bytesFree, let reason):
            """
            \(path) cannot be opened: the disk is full (\(bytesFree >> 10) KiB free, \(reason)); free a few MiB and \
            start again, nothing is lost
            """
        case .noLog(let path, let mode):
            """
            SQLite could not create the write-ahead log of \(path) (journal_mode is \(mode)): I/O error, disk full, or \
            no memory mapping; check the kernel log and start again
            """
        case .notDurable(let path, let setting, let found, let wanted):
            "SQLite runs with \(setting)=\(found) on \(path): durability requires \(wanted)"
        case .writesMissing(let path, let finding):
            """
            \(path) was not opened: \(finding); restore a backup, or start with --accept-loss, which keeps a copy of the \
            log and goes on without these writes
            """
        case .failed(let path, let reason):
            "\(path) cannot be opened: \(reason)"
        }
    }
}
