import Foundation

/// Reads small text files.
enum TextFile {
    /// Reads a file as UTF-8 text, without a byte order mark.
    static func read(_ path: String) throws(UnreadableFile) -> String {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw UnreadableFile("no such file")
        }
        guard !isFolder.boolValue else { throw UnreadableFile("it is a folder") }
        guard let bytes = FileManager.default.contents(atPath: path) else { throw UnreadableFile("permission denied") }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw UnreadableFile("it is not UTF-8 text") }
        return text.unicodeScalars.first == "\u{FEFF}" ? String(text.unicodeScalars.dropFirst()) : text
    }

    /// The first line of a file, without a byte order mark and the end of the line.
    static func firstLine(of path: String) throws(UnreadableFile) -> String {
        var text = try read(path)
        if text.unicodeScalars.first == "\u{FEFF}" { text.unicodeScalars.removeFirst() }
        // In Swift, "\r\n" is one character and not equal to "\n".
        return text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).first.map(String.init) ?? ""
    }
}

/// Why a file cannot be read.
struct UnreadableFile: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
