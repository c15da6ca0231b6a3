import ArgumentParser
import Foundation
import Synchronization

/// A command that failed for a reason its user can act on: one sentence, exit code 1.
package struct CommandError: Error, CustomStringConvertible {
    package var description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// Runs what starts a server and turns its error into one sentence.
package func started<Value>(_ start: () async throws -> Value) async throws -> Value {
    do {
        return try await start()
    } catch {
        throw CommandError("\(PlainReason.of(error))")
    }
}

/// Lines for people.
package enum Terminal {
    /// Writes a line to standard output at once, also when it is a pipe.
    package static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    /// Writes a line to standard error: progress and remarks, not results.
    package static func note(_ line: String) {
        FileHandle.standardError.write(Data((line + "\n").utf8))
    }

    package static var isInteractive: Bool { isatty(STDERR_FILENO) == 1 }
}

/// The end of a pipe that the signal handler writes to.
// SAFETY: set once, before the handler that reads it is installed.
nonisolated(unsafe) private var signalPipe: Int32 = -1

/// SIGINT, SIGTERM and SIGHUP as something to wait for. A terminal that closes sends SIGHUP; nothing is read anew at it.
package enum Termination {
    private struct State {
        var signals = 0
        var isInterrupt = false
        var waiters: [(id: Int, count: Int, continuation: CheckedContinuation<Void, Never>)] = []
        var lastID = 0
    }

    private static let state = Mutex(State())
    private static let listening: Void = {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { preconditionFailure("no pipe for signals: errno \(errno)") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        signalPipe = ends[1]
        let reading = ends[0]
        Thread.detachNewThread {
            var number: UInt8 = 0
            while true {
                switch read(reading, &number, 1) {
                case 1: arrived(Int32(number))
                case -1 where errno == EINTR: continue
                default: return
                }
            }
        }
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number) { number in
                // Only what is safe in a handler: one write of one byte.
                let saved = errno
                var byte = UInt8(truncatingIfNeeded: number)
                _ = write(signalPipe, &byte, 1)
                errno = saved
            }
        }
    }()

    /// From here on these signals are noted, each of them, whether anybody waits or not; before, they end the
    /// process. To be called before anybody is told that the process is ready.
    package static func listen() { _ = listening }

    private static func arrived(_ number: Int32) {
        let ready = state.withLock { state in
            if state.signals == 0 { state.isInterrupt = number == SIGINT }
            state.signals += 1
            let ready = state.waiters.filter { $0.count <= state.signals }
            state.waiters.removeAll { $0.count <= state.signals }
            return ready
        }
        for waiter in ready { waiter.continuation.resume() }
    }

    /// Whether the first signal was SIGINT: somebody sits at a terminal and waits.
    package static var isInterrupt: Bool { state.withLock { $0.isInterrupt } }

    /// Returns when the process was asked to end, or its task is cancelled; with `times: 2`, when somebody has lost
    /// patience.
    package static func wait(times count: Int = 1) async {
        listen()
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    guard state.signals < count, !Task.isCancelled else { return true }
                    state.waiters.append((id, count, continuation))
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            // A gateway that failed must not wait for a signal before it can say so.
            let waiter = state.withLock { state in
                state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
            }
            waiter?.continuation.resume()
        }
    }
}
