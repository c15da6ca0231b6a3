import Foundation
import GodwitCLI
import PushTesting
import Testing

/// Reports to systemd, received by a socket of the test.
@Suite struct `Reports to the service manager` {
    /// A datagram socket, as systemd has one.
    private final class Socket: Sendable {
        let descriptor: Int32

        /// - Parameter name: the value of `NOTIFY_SOCKET`.
        init(_ name: String) throws {
            descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            var bytes = Array(name.utf8)
            if bytes.first == UInt8(ascii: "@") { bytes[0] = 0 }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
            let length = socklen_t(MemoryLayout<sockaddr_un>.offset(of: \.sun_path)! + bytes.count)
            // SAFETY: `address` outlives the call.
            let result = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
            }
            guard result == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        }

        deinit { close(descriptor) }

        /// The lines of the next report; nil if there is none.
        func next() -> [String]? {
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            guard count > 0 else { return nil }
            return String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n").map(String.init)
        }

        func wait(_ event: String) async throws -> [String] {
            var report: [String]?
            try await waitUntil(event) {
                report = next()
                return report != nil
            }
            return report ?? []
        }
    }

    @Test func `follow the life of a gateway`() async throws {
        let gateway = try await GatewayUnderTest(isStarted: false)
        let path = gateway.folder.file("notify")
        let socket = try Socket(path)
        try await gateway.restart(under: ["env", "NOTIFY_SOCKET=\(path)"])
        let ready = try await socket.wait("READY")
        #expect(ready == ["READY=1", "STATUS=serving on \(gateway.url)"])

        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        gateway.process.signal(SIGHUP)
        let reloading = try await socket.wait("RELOADING")
        #expect(reloading.first == "RELOADING=1" && reloading.count == 2)
        let time = try #require(reloading.last?.firstMatch(of: /MONOTONIC_USEC=(\d+)/).flatMap { Int($0.1) })
        let before = now.tv_sec * 1_000_000 + now.tv_nsec / 1000
        #expect(time >= before && time < before + 60_000_000)
        #expect(try await socket.wait("the end of the reload") == ["READY=1", "STATUS=serving on \(gateway.url)"])

        gateway.process.signal(SIGTERM)
        #expect(try await socket.wait("STOPPING") == ["STOPPING=1", "STATUS=draining"])
        #expect(try await gateway.process.waitForExit() == .status(0))
        #expect(socket.next() == nil)
        try await gateway.close()
    }

    @Test func `reach abstract sockets`() async throws {
        let name = "@godwit-test-\(UUID().uuidString)"
        let socket = try Socket(name)
        let manager = ServiceManager(environment: ["NOTIFY_SOCKET": name])
        manager.reportReload { true }
        #expect(socket.next() == nil, "not before the process serves")
        manager.reportReady("serving")
        #expect(socket.next() == ["READY=1", "STATUS=serving"])
        for isComplete in [false, true] {
            manager.reportReload {
                #expect(socket.next()?.first == "RELOADING=1")
                return isComplete
            }
            let note = isComplete ? "" : "; the last reload failed in part, see the log"
            #expect(socket.next() == ["READY=1", "STATUS=serving\(note)"])
        }
        manager.reportStopping()
        #expect(socket.next() == ["STOPPING=1", "STATUS=draining"])
        manager.reportReload { true }
        #expect(socket.next() == nil, "not while it stops")
    }

    @Test(arguments: ["", "relative", "/no/such/socket", "/" + String(repeating: "x", count: 200)])
    func `are not sent without a usable socket`(_ name: String) {
        let manager = ServiceManager(environment: ["NOTIFY_SOCKET": name])
        manager.reportReady("serving")
        manager.reportStopping()
        ServiceManager(environment: [:]).reportReady("serving")
    }
}
