import Foundation
import GRDB
import PushModel
package import PushStore

/// What a backup holds.
package struct BackupReport: Sendable, Equatable {
    /// Batches whose pushes or outcomes are in it.
    package var batches: Int
    /// Pushes that wait.
    package var pushesWaiting: Int
    package var deadLetters: Int
    package var bytes: Int
}

/// Why a backup was not made, or not restored.
package enum BackupError: Error, Equatable, CustomStringConvertible {
    case noDatabase(String)
    case targetExists(String)
    /// The file to be restored is not there or not good.
    case unusable(String, reason: String)
    /// There is a database in the folder, and nobody said that it may be replaced.
    case wouldReplace(String)
    case folder(SQLiteOpenError)
    case failed(String, reason: String)

    package var description: String {
        switch self {
        case .noDatabase(let folder): "There is no database in \(folder)."
        case .targetExists(let path): "\(path) exists; a backup overwrites nothing, choose another name."
        case .unusable(let path, let reason): "\(path) cannot be restored: \(reason)"
        case .wouldReplace(let folder):
            "There is a database in \(folder); with --replace it is kept under another name beside the new one."
        case .folder(let error): error.description
        case .failed(let path, let reason): "\(path): \(reason)"
        }
    }
}

extension SQLiteBackend {
    /// Copies the database in `folder` to the file `target`, also while a gateway uses it, from any process.
    ///
    /// Everything that was acknowledged before the call is in it. The file appears under its name when it is complete,
    /// checked and on the disk; only its owner can read it.
    package static func backup(folder: String, to target: String) throws(BackupError) -> BackupReport {
        let path = folder + "/" + fileName
        guard FileIdentity(path: path) != nil else { throw .noDatabase(folder) }
        guard FileIdentity(path: target) == nil else { throw .targetExists(target) }
        let partial = target + ".partial-\(getpid())"
        do {
            try DatabaseCopy.make(of: path, at: partial)
            let report = try report(on: partial)
            guard FileIdentity(path: target) == nil else {
                unlink(partial)
                throw BackupError.targetExists(target)
            }
            try Disk.rename(partial, to: target)
            try Disk.sync(Disk.folder(of: target))
            return report
        } catch let error as BackupError {
            throw error
        } catch {
            throw .failed(target, reason: "the backup was not made: \(reason(of: error))")
        }
    }

    /// Makes the file `source`, a backup, the database in `folder`.
    ///
    /// What the backup holds as waiting is sent again, also if it was delivered since the backup was made.
    ///
    /// - Parameter replacing: a database that is there is kept beside it, under its name and the moment of the restore.
    package static func restore(
        from source: String, folder: String, replacing: Bool = false, clock: QueueClock = .system
    ) throws(BackupError) -> BackupReport {
        let lock: FolderLock
        do {
            try DatabaseFolder.prepare(folder)
            lock = try FolderLock(folder: folder)
        } catch {
            throw .folder(error)
        }
        defer { lock.unlock() }
        let path = folder + "/" + fileName
        let new = Replacement.newPath(path)
        do {
            try Replacement.finish(path)
            try demandFile(source)
            guard replacing || FileIdentity(path: path) == nil else { throw BackupError.wouldReplace(folder) }
            try FileManager.default.copyItem(atPath: source, toPath: new)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: new)
            try Disk.sync(new)
        } catch let error as BackupError {
            throw error
        } catch {
            throw .failed(folder, reason: "the backup cannot be copied: \(reason(of: error))")
        }
        do {
            try DatabaseCopy.check(new)
        } catch {
            unlink(new)
            throw .unusable(source, reason: reason(of: error))
        }
        do {
            let report = try report(on: new)
            try Replacement.begin(path, suffix: ".before-restore-\(clock.wall().milliseconds)")
            return report
        } catch {
            throw .failed(folder, reason: "the backup cannot be put in its place: \(reason(of: error))")
        }
    }

    /// A folder could be copied, too, and would lie in the way ever after.
    private static func demandFile(_ source: String) throws(BackupError) {
        var status = stat()
        guard stat(source, &status) == 0 else { throw .unusable(source, reason: "there is no such file.") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .unusable(source, reason: "it is not a file.") }
        guard status.st_size > 0 else { throw .unusable(source, reason: "the file is empty.") }
        guard access(source, R_OK) == 0 else { throw .unusable(source, reason: "it may not be read.") }
    }

    private static func report(on path: String) throws -> BackupReport {
        let connection = try DatabaseQueue(path: path, configuration: Connections.reading())
        defer { try? connection.close() }
        let bytes = (try FileManager.default.attributesOfItem(atPath: path)[.size] as? NSNumber)?.intValue
        return try connection.inDatabase { db in
            // A backup of an older version has fewer tables.
            let hasDeadLetters = try db.tableExists("dead_letters")
            return BackupReport(
                batches: try Int.fetchOne(db, sql: "SELECT count(*) FROM records") ?? 0,
                pushesWaiting: try Int.fetchOne(db, sql: "SELECT coalesce(sum(unsettled), 0) FROM batches") ?? 0,
                deadLetters: hasDeadLetters ? try Int.fetchOne(db, sql: "SELECT count(*) FROM dead_letters") ?? 0 : 0,
                bytes: bytes ?? 0
            )
        }
    }

    private static func reason(of error: any Error) -> String {
        (error as? DatabaseError)?.brief ?? "\(error)"
    }
}
