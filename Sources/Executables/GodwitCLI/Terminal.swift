import Foundation

/// Output of the commands.
package enum Terminal {
    /// Writes a line to standard output without buffering, so that a reader of a pipe receives it immediately.
    package static func writeOutput(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    /// Writes a line to standard error: errors, progress and notes, but no results.
    package static func writeError(_ line: String) {
        FileHandle.standardError.write(Data((line + "\n").utf8))
    }
}
