import GRDB
import PushStore

extension Error {
    /// What an error on the writing connection means for the queue.
    ///
    /// Sources: SQLite, "Result and Extended Result Codes". The unix VFS turns ENOSPC of a write into SQLITE_FULL; the
    /// shared-memory file has a code of its own. After any other I/O error, above all after a failed sync, nobody
    /// knows what is on the disk: the kernel reports a failed write-back once and then calls the pages clean.
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
