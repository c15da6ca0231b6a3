import Foundation

/// Reads small text files.
enum TextFile {
    /// Reads a file as UTF-8 text.
    static func read(_ path: String) throws(UnreadableFile) -> String {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw UnreadableFile("no such file")
        }
        guard !isFolder.boolValue else { throw UnreadableFile("it is a folder") }
        guard let bytes = FileManager.default.contents(atPath: path) else { throw UnreadableFile("permission denied") }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw UnreadableFile("it is not UTF-8 text") }
        return text
    }
}

/// Why a file cannot be read.
struct UnreadableFile: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
