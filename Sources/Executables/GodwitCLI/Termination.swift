import Foundation
import Synchronization

/// The end of a pipe that the signal handler writes to.
// SAFETY: set once, before the handler that reads it is installed.
nonisolated(unsafe) private var signalPipe: Int32 = -1

/// SIGINT, SIGTERM and SIGHUP as events to await. SIGHUP, which a closing terminal sends, ends the process like the others,
/// unless the command reloads its configuration at SIGHUP.
package enum Termination {
    private struct State {
        var signals = 0
        var isInterrupt = false
        var waiters: [(id: Int, count: Int, continuation: CheckedContinuation<Void, Never>)] = []
        var lastID = 0
        var reloads: AsyncStream<Void>.Continuation?
    }

    private static let state = Mutex(State())
    private static let listening: Void = {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { preconditionFailure("no pipe for signals: errno \(errno)") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        signalPipe = ends[1]
        let readEnd = ends[0]
        Thread.detachNewThread {
            var number: UInt8 = 0
            while true {
                switch read(readEnd, &number, 1) {
                case 1: signalReceived(Int32(number))
                case -1 where errno == EINTR: continue
                default: return
                }
            }
        }
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number) { number in
                // A handler may only call async-signal-safe functions, such as write(2).
                let saved = errno
                var byte = UInt8(truncatingIfNeeded: number)
                _ = write(signalPipe, &byte, 1)
                errno = saved
            }
        }
    }()

    /// Installs the handlers. From then on every signal is counted, even if no task waits; before, a signal ends the
    /// process. Call it before the process reports that it is ready.
    package static func listen() { _ = listening }

    /// From now on, SIGHUP no longer counts as a signal to stop: it yields an element. Signals during a reload are one element.
    /// To be called before `listen`, once.
    package static func reloads() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        state.withLock { $0.reloads = continuation }
        listen()
        return stream
    }

    private static func signalReceived(_ number: Int32) {
        let ready = state.withLock { state -> [(id: Int, count: Int, continuation: CheckedContinuation<Void, Never>)] in
            if number == SIGHUP, let reloads = state.reloads {
                reloads.yield()
                return []
            }
            if state.signals == 0 { state.isInterrupt = number == SIGINT }
            state.signals += 1
            let ready = state.waiters.filter { $0.count <= state.signals }
            state.waiters.removeAll { $0.count <= state.signals }
            return ready
        }
        for waiter in ready { waiter.continuation.resume() }
    }

    /// Whether the first signal was SIGINT, which a user sends from a terminal.
    package static var isInterrupt: Bool { state.withLock { $0.isInterrupt } }

    /// Returns once the process has received `count` signals, or when the current task is cancelled.
    package static func wait(times count: Int = 1) async {
        listen()
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isDone = state.withLock { state in
                    guard state.signals < count, !Task.isCancelled else { return true }
                    state.waiters.append((id, count, continuation))
                    return false
                }
                if isDone { continuation.resume() }
            }
        } onCancel: {
            // A gateway that failed must not wait for a signal before it reports its error.
            let waiter = state.withLock { state in
                state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
            }
            waiter?.continuation.resume()
        }
    }

    /// From `seconds` on, a further signal ends the process without a report.
    package static func endImmediately(after seconds: Double) {
        Thread.detachNewThread {
            Thread.sleep(forTimeInterval: seconds)
            for number in [SIGINT, SIGTERM, SIGHUP] { signal(number, SIG_DFL) }
        }
    }
}
