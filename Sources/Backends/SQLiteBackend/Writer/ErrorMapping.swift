import GRDB
import PushStore

extension Error {
    /// The `QueueError` for an error of the writing connection.
    ///
    /// Source: SQLite, "Result and Extended Result Codes". The unix VFS reports ENOSPC of a write as SQLITE_FULL; for
    /// the shared-memory file it has a code of its own. After any other I/O error, above all a failed sync, the content
    /// of the disk is unknown: the kernel reports a failed write-back once and then marks the pages as clean.
    var queueError: QueueError {
        if let error = self as? QueueError { return error }
        guard let error = self as? DatabaseError else {
            return .unavailable("\(self)", isOutcomeKnown: true)
        }
        if error.extendedResultCode == .SQLITE_IOERR_SHMSIZE { return .full(error.brief) }
        switch error.resultCode {
        case .SQLITE_FULL: return .full(error.brief)
        case .SQLITE_IOERR, .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM:
            return .broken(error.brief)
        default: return .unavailable(error.brief, isOutcomeKnown: true)
        }
    }
}

extension DatabaseError {
    /// SQLite's message and code, without SQL and values.
    var brief: String {
        "\(message ?? "no message") (SQLite \(extendedResultCode.rawValue))"
    }
}
