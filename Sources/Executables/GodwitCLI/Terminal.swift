import Foundation

/// Output of the commands.
package enum Terminal {
    /// Writes a line to standard output without buffering, so that a reader of a pipe receives it immediately.
    ///
    /// Ends the process with status 1 if the line cannot be written: without a message if the reader has closed the
    /// pipe, because it needs no more lines, otherwise with one line on standard error.
    package static func writeOutput(_ line: String) {
        let code = write(line + "\n", to: STDOUT_FILENO)
        guard code != 0 else { return }
        if code != EPIPE { writeError("standard output: \(PlainReason.of(errno: code))") }
        // `exit` would destroy objects that other threads still use.
        _exit(1)
    }

    /// Writes a line to standard error: errors, progress and notes, but no results. A failure is ignored, because it
    /// cannot be reported.
    package static func writeError(_ line: String) {
        writeError(unterminated: line + "\n")
    }

    /// As `writeError(_:)`, without a line end.
    static func writeError(unterminated text: String) {
        _ = write(text, to: STDERR_FILENO)
    }

    /// - Returns: 0, or the error code of the first write that failed.
    private static func write(_ text: String, to descriptor: Int32) -> Int32 {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest.removeFirst(count)
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // The descriptor is shared with a program that made it non-blocking.
                var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&request, 1, -1)
            default: return errno
            }
        }
        return 0
    }
}
