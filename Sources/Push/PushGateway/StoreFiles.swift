import Foundation
import PushModel
import PushStore
import SQLiteBackend

/// The store of a configuration as files: backup and restore.
package enum StoreFiles {
    /// What a backup holds.
    package struct Contents: Sendable, Equatable {
        /// Batches whose pushes or outcomes are in it.
        package var batches: Int
        /// Pushes that wait.
        package var pushesWaiting: Int
        package var deadLetters: Int
        package var bytes: Int

        fileprivate init(_ report: BackupReport) {
            batches = report.batches
            pushesWaiting = report.pushesWaiting
            deadLetters = report.deadLetters
            bytes = report.bytes
        }
    }

    /// Copies the store to `file` while its gateway may be running; everything acknowledged before is in it.
    ///
    /// - Throws: one sentence; then there is no file.
    package static func backUp(_ configuration: GatewayConfiguration, to file: String) throws -> Contents {
        Contents(try SQLiteBackend.backup(folder: configuration.storePath, to: file))
    }

    /// Puts a backup in the place of the store, whose gateway must not be running.
    ///
    /// - Parameters:
    ///   - replacing: keep a store that is there beside it, under another name.
    ///   - isPaused: pause every app of the configuration, so that nothing is sent before somebody resumes it.
    /// - Throws: one sentence; then everything is as it was.
    package static func restore(
        _ configuration: GatewayConfiguration, from file: String, replacing: Bool, isPaused: Bool
    ) async throws -> Contents {
        let contents = Contents(
            try SQLiteBackend.restore(from: file, folder: configuration.storePath, replacing: replacing)
        )
        guard isPaused else { return contents }
        let store = try SQLiteBackend.open(folder: configuration.storePath)
        do {
            for app in configuration.apps {
                try await store.setPaused(true, app: AppID(app.name), at: QueueClock.system.wall())
            }
        } catch {
            await store.close()
            throw error
        }
        await store.close()
        return contents
    }
}
