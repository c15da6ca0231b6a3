import Foundation
import GRDB
import PushModel
package import PushStore

/// The contents of a backup.
package struct BackupReport: Sendable, Equatable, CustomStringConvertible {
    /// Batches whose pushes or outcomes are in it.
    package var batches: Int
    package var pushesWaiting: Int
    package var deadLetters: Int
    package var bytes: Int

    package var description: String {
        let size = ByteCountFormatter.string(fromByteCount: Int64(bytes), countStyle: .binary)
        return "\(size), \(batches) batches, \(pushesWaiting) pushes waiting, \(deadLetters) dead letters"
    }
}

/// Why a backup or restore failed. The description is one line for an operator.
package enum BackupError: Error, Equatable, CustomStringConvertible {
    case noDatabase(String)
    case targetExists(String)
    /// The file to restore is missing or not a sound backup.
    case unusable(String, reason: String)
    /// The folder has a database and the caller did not allow to replace it.
    case wouldReplace(String)
    case folder(SQLiteOpenError)
    case failed(String, reason: String)

    package var description: String {
        switch self {
        case .noDatabase(let folder): "\(folder) has no database"
        case .targetExists(let path): "\(path) exists: choose another name"
        case .unusable(let path, let reason): "\(path) cannot be restored: \(reason)"
        case .wouldReplace(let folder):
            "\(folder) has a database: --replace keeps it under another name next to the new one"
        case .folder(let error): error.description
        case .failed(let path, let reason): "\(path): \(reason)"
        }
    }
}

extension SQLiteBackend {
    /// Why no database can be opened or created in `folder`; nil if one can, as far as that can be said without changing
    /// anything.
    package static func folderProblem(_ folder: String) -> SQLiteOpenError? { DatabaseFolder.problem(folder) }

    /// Makes the owner of the folder the owner of what root created in it.
    package static func giveFilesToOwner(of folder: String) { DatabaseFolder.giveFilesToOwner(of: folder) }

    /// Copies the database in `folder` to the file `target`. Any process may call it, even while a gateway runs.
    ///
    /// The copy has everything that was acknowledged before the call. It gets its name when it is complete, checked and
    /// synced; only its owner can read it.
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
            throw .failed(target, reason: "the backup failed: \(reason(of: error))")
        }
    }

    /// Makes the backup `source` the database in `folder`.
    ///
    /// Pushes that wait in the backup are sent again, even if they were delivered since. Files that root creates in a folder
    /// of another user belong to that user, whose gateway has to open them.
    ///
    /// - Parameter replacing: allows to replace a database, which is kept under its name and the time of the restore.
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
        defer {
            DatabaseFolder.giveFilesToOwner(of: folder)
            lock.unlock()
        }
        let path = folder + "/" + fileName
        let new = Replacement.newPath(path)
        do {
            try Replacement.finish(path)
            try requireFile(source)
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
            try DatabaseCopy.makeShrinkable(new)
        } catch {
            unlink(new)
            throw .unusable(source, reason: reason(of: error))
        }
        do {
            let report = try report(on: new)
            // Also before the replacement: a crash after it must not leave a database that the gateway cannot open.
            DatabaseFolder.giveFilesToOwner(of: folder)
            try Replacement.begin(path, suffix: ".before-restore-\(clock.wall().milliseconds)")
            return report
        } catch {
            throw .failed(folder, reason: "the backup cannot be activated: \(reason(of: error))")
        }
    }

    /// Refuses folders, which could be copied as well and would block every later restore.
    private static func requireFile(_ source: String) throws(BackupError) {
        var status = stat()
        guard stat(source, &status) == 0 else { throw .unusable(source, reason: "no such file") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .unusable(source, reason: "not a file") }
        guard status.st_size > 0 else { throw .unusable(source, reason: "the file is empty") }
        guard access(source, R_OK) == 0 else { throw .unusable(source, reason: "the file is not readable") }
    }

    private static func report(on path: String) throws -> BackupReport {
        let connection = try DatabaseQueue(path: path, configuration: Connections.reading())
        defer { try? connection.close() }
        let bytes = (try FileManager.default.attributesOfItem(atPath: path)[.size] as? NSNumber)?.intValue
        return try connection.inDatabase { db in
            // A backup of an older version may lack the table.
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
