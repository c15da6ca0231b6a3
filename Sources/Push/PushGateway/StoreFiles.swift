import Foundation
import PushModel
import PushStore
package import SQLiteBackend

/// Backup and restore of a configured store.
package enum StoreFiles {
    /// Copies the store to `file`, even while its gateway runs. The copy contains everything acknowledged before the
    /// call.
    ///
    /// - Throws: an error whose description is one line. Then there is no file.
    package static func backUp(_ configuration: GatewayConfiguration, to file: String) throws -> BackupReport {
        try SQLiteBackend.backup(folder: configuration.storePath, to: file)
    }

    /// Replaces the store by a backup. Its gateway must not be running.
    ///
    /// - Parameters:
    ///   - replacing: allow an existing store, and keep it next to the new one under another name.
    ///   - isPaused: pause every app of the configuration, so that nothing is sent before an app is resumed.
    /// - Throws: an error whose description is one line. Then the store is unchanged.
    package static func restore(
        _ configuration: GatewayConfiguration, from file: String, replacing: Bool, isPaused: Bool
    ) async throws -> BackupReport {
        let report = try SQLiteBackend.restore(from: file, folder: configuration.storePath, replacing: replacing)
        guard isPaused else { return report }
        // What opening the store creates belongs to the owner of the folder as well.
        defer { SQLiteBackend.giveFilesToOwner(of: configuration.storePath) }
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
        return report
    }
}
