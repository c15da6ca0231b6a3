/// Why the database cannot be used.
package enum SQLiteOpenError: Error, Equatable, CustomStringConvertible {
    case notAFolder(String)
    case folderNotWritable(String, reason: String)
    /// On a network file system locks and syncs do not do what durability rests on.
    case notLocal(String, fileSystem: String)
    /// Another process has it. `processID` as that process wrote it, if it could be read.
    case inUse(String, processID: Int?)
    /// It is to be taken from another process, which has shown no life for `since`; less than what is `needed`.
    case ownerAlive(String, processID: Int?, since: Duration, needed: Duration)
    case notADatabase(String)
    /// A database, but not one of ours.
    case foreignDatabase(String)
    case newerSchema(String, found: Int, supported: Int)
    /// The disk is full.
    case noSpace(String, bytesFree: Int, reason: String)
    /// SQLite could not make its log. It does not tell why: it answers with the mode that it stays in.
    case noLog(String, mode: String)
    /// SQLite did not take a setting that durability depends on.
    case notDurable(String, setting: String, found: String, wanted: String)
    case failed(String, reason: String)

    /// What SQLite said, of an error that a full disk explains.
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
            "\(path) is not a folder; the database needs a folder of its own."
        case .folderNotWritable(let path, let reason):
            "The folder \(path) cannot be written: \(reason)."
        case .notLocal(let path, let fileSystem):
            "The folder \(path) lies on a network file system (\(fileSystem)); the database needs a local disk."
        case .inUse(let path, let processID):
            """
            The database in \(path) is used by another process\(processID.map { " (\($0))" } ?? ""); \
            each database belongs to one process.
            """
        case .ownerAlive(let path, let processID, let since, let needed):
            """
            The database in \(path) is used by another process\(processID.map { " (\($0))" } ?? ""), whose last sign of \
            life is \(since.components.seconds) s old; it can be taken over once it has shown none for \
            \(needed.components.seconds) s: try again in \(max(1, needed.components.seconds - since.components.seconds)) s, \
            or stop that process.
            """
        case .notADatabase(let path):
            "\(path) is not an SQLite database; move it away or choose another folder."
        case .foreignDatabase(let path):
            "\(path) is a database of another program; move it away or choose another folder."
        case .newerSchema(let path, let found, let supported):
            """
            \(path) was written by a newer version of Godwit (schema \(found), this version knows \(supported)); \
            start the newer version.
            """
        case .noSpace(let path, let bytesFree, let reason):
            """
            The disk of \(path) is full (\(bytesFree >> 10) KiB left), and the database cannot be opened without writing a \
            little: free some MiB and start again; nothing is lost (\(reason)).
            """
        case .noLog(let path, let mode):
            """
            SQLite could not make its write-ahead log for \(path) (journal_mode is \(mode)): the disk answered with an \
            I/O error, has no capacity, or cannot map files into memory; look at the kernel's messages and start again.
            """
        case .notDurable(let path, let setting, let found, let wanted):
            "SQLite uses \(setting)=\(found) for \(path) where nothing would be lost with \(wanted) only."
        case .failed(let path, let reason):
            "The database \(path) cannot be opened: \(reason)."
        }
    }
}
