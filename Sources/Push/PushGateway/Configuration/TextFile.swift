package import Foundation

/// Reads small text files.
package enum TextFile {
    /// The largest: a bundle of all public authorities has about 250 KiB.
    private static let bytesMax = 4 << 20

    /// Reads a file as UTF-8 text, without a byte order mark.
    package static func read(_ path: String) throws(UnreadableFile) -> String {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw UnreadableFile("no such file")
        }
        guard !isFolder.boolValue else { throw UnreadableFile("it is a folder") }
        // FileManager cannot read a pipe, such as <(command) of a shell.
        guard let file = FileHandle(forReadingAtPath: path) else { throw UnreadableFile("permission denied") }
        let bytes = try contents(of: file)
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

    /// Reads a file or a pipe to its end.
    package static func contents(of file: FileHandle) throws(UnreadableFile) -> [UInt8] {
        var bytes: [UInt8] = []
        do {
            while let part = try file.read(upToCount: 64 * 1024), !part.isEmpty {
                bytes += part
                if bytes.count > bytesMax { break }
            }
        } catch {
            throw UnreadableFile("reading failed")
        }
        guard bytes.count <= bytesMax else { throw UnreadableFile("it has more than \(bytesMax >> 20) MiB") }
        return bytes
    }
}

/// Paths as people write them.
package enum UserPath {
    /// Replaces a leading `~` or `~user` by that home folder. A shell does so only at the start of a word, so not in
    /// `--file=~/x`, not within quotes, and not in a configuration file.
    ///
    /// - Throws: if there is no such home folder.
    package static func expanded(_ path: String) throws(UnreadableFile) -> String {
        guard path.hasPrefix("~") else { return path }
        // As a shell does: the home of this user may be overridden.
        if path == "~" || path.hasPrefix("~/"), let home = ProcessInfo.processInfo.environment["HOME"], !home.isEmpty {
            return home + path.dropFirst()
        }
        let expanded = (path as NSString).expandingTildeInPath
        guard !expanded.hasPrefix("~") else {
            throw UnreadableFile("'~' at its start stands for no home folder; write the whole path, or ./~ for a file")
        }
        return expanded
    }
}

/// Why a file cannot be read.
package struct UnreadableFile: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
