import Foundation

/// A temporary folder, deleted with its contents when the last reference is released.
package final class TemporaryFolder: Sendable {
    /// Absolute, without a slash at the end.
    package let path: String

    /// - Throws: if the system's folder for temporary files is not writable.
    package init() throws {
        let url = FileManager.default.temporaryDirectory.appending(path: "godwit-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: url, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700]
        )
        path = url.path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The path of `name` inside the folder, whether or not it exists.
    package func file(_ name: String) -> String {
        "\(path)/\(name)"
    }

    /// Writes `text` to a file in the folder, replacing an existing one.
    ///
    /// - Returns: the path of the file.
    @discardableResult
    package func write(_ text: String, to name: String) throws -> String {
        let path = file(name)
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        return path
    }
}
