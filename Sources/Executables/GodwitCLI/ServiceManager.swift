import Foundation
import Synchronization

/// Reports the state of this process to systemd, as `sd_notify(3)` describes it, without libsystemd.
///
/// Without `NOTIFY_SOCKET`, which systemd sets for units with `Type=notify` and `Type=notify-reload`, nothing is sent. Errors
/// are ignored: the service manager acts on a missing report by its own timeouts.
package final class ServiceManager: Sendable {
    private enum State {
        case starting
        /// With the line that `systemctl status` shows.
        case serving(String)
        case stopping
    }

    private let socket: String?
    private let state = Mutex(State.starting)

    package init(environment: [String: String] = ProcessInfo.processInfo.environment) {
        socket = environment["NOTIFY_SOCKET"].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The process serves.
    ///
    /// - Parameter text: one line that `systemctl status` shows.
    package func reportReady(_ text: String) {
        state.withLock { state in
            guard case .starting = state else { return }
            state = .serving(text)
            send("READY=1\nSTATUS=\(text)")
        }
    }

    /// Reports a reload while `body` runs. Before the process serves, and while it stops, that would be wrong.
    ///
    /// - Parameter body: returns whether everything was used; `systemctl status` shows it if not.
    package func reportReload(_ body: () -> Bool) {
        let isServing = state.withLock { if case .serving = $0 { true } else { false } }
        if isServing { send("RELOADING=1\nMONOTONIC_USEC=\(Self.monotonicMicroseconds)") }
        let isComplete = body()
        state.withLock { state in
            guard isServing, case .serving(let text) = state else { return }
            send("READY=1\nSTATUS=\(text)\(isComplete ? "" : "; the last reload failed in part, see the log")")
        }
    }

    package func reportStopping() {
        state.withLock { $0 = .stopping }
        send("STOPPING=1\nSTATUS=draining")
    }

    /// `notify-reload` compares it with the time at which it requested the reload.
    private static var monotonicMicroseconds: UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
    }

    private func send(_ text: String) {
        guard let socket else { return }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // A name that begins with `@` is in the abstract namespace, which the first byte 0 selects.
        var name = Array(socket.utf8)
        guard name[0] == UInt8(ascii: "/") || name[0] == UInt8(ascii: "@"),
            name.count < MemoryLayout.size(ofValue: address.sun_path)
        else { return }
        if name[0] == UInt8(ascii: "@") { name[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        #if os(Linux)
        let descriptor = Foundation.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let flags = Int32(MSG_NOSIGNAL)
        #else
        let descriptor = Foundation.socket(AF_UNIX, SOCK_DGRAM, 0)
        let flags: Int32 = 0
        #endif
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        // The name of an abstract socket ends with the address.
        let length = socklen_t(MemoryLayout<sockaddr_un>.offset(of: \.sun_path)! + name.count)
        let bytes = Array(text.utf8)
        // SAFETY: `address` and `bytes` outlive the call, and `length` is within `address`.
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, bytes, bytes.count, flags, $0, length)
            }
        }
    }
}
