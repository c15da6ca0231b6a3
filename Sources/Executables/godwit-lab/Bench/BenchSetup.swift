import APNSKit
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1

/// Starts the servers for benchmarks, each as a separate process, in a temporary folder.
final class BenchSetup: Sendable {
    let folder: String

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("godwit-bench-\(getpid())").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }

    func write(_ bytes: [UInt8], to name: String) throws -> String {
        let path = "\(folder)/\(name)"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }

    // MARK: Servers

    struct SimulatorServer {
        var process: BenchProcess
        var port: Int
        var controlPort: Int
        var folder: String
        var caFile: String { "\(folder)/ca.pem" }
        var keyFile: String { "\(folder)/AuthKey.p8" }

        /// A provider token, for other HTTP clients.
        func authorization() throws -> String {
            let key = try ProviderTokenKey(file: keyFile, keyID: "DEMOKEY000", teamID: "DEMOTEAM00")
            return try ProviderTokenSource(key: key).current().authorization
        }

        /// Calls the control API.
        func control(_ method: String, _ path: String, body: String?) async throws {
            var request = HTTPClientRequest(url: "http://127.0.0.1:\(controlPort)\(path)")
            request.method = .RAW(value: method)
            if let body { request.body = .bytes(ByteBuffer(string: body)) }
            let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
            guard (200...299).contains(response.status.code) else {
                throw BenchError("the simulator returned \(response.status.code) for \(path)")
            }
        }
    }

    /// - Parameter roundTripMilliseconds: nil for the fastest mode; otherwise the simulator has this round-trip time
    ///   and, as APNs, small windows and one stream at the start of a connection.
    func startSimulator(roundTripMilliseconds: Int? = nil) async throws -> SimulatorServer {
        let directory = "\(folder)/simulator"
        let process = try BenchProcess(
            BenchProcess.godwit,
            ["simulate", "--port", "0", "--control-port", "0", "--directory", directory]
                + (roundTripMilliseconds.map { ["--latency", "\($0)"] } ?? ["--fast"])
        )
        let line = try await process.waitForLine(containing: "simulator: APNs on")
        let ports = line.split(separator: ":").compactMap { Int($0.prefix(while: \.isNumber)) }
        guard ports.count >= 2 else { throw BenchError("cannot read the simulator's ports from \"\(line)\"") }
        return SimulatorServer(process: process, port: ports[0], controlPort: ports[1], folder: directory)
    }

    struct GatewayServer {
        var process: BenchProcess
        var url: String

        /// The sum of a metric over all its series that contain `label`.
        func metric(_ name: String, _ label: String = "") async throws -> Double {
            let request = HTTPClientRequest(url: url + "/metrics")
            let response = try await HTTPClient.shared.execute(request, timeout: .seconds(10))
            return String(buffer: try await response.body.collect(upTo: 1 << 20)).split(separator: "\n")
                .filter {
                    ($0.hasPrefix(name + " ") || $0.hasPrefix(name + "{")) && (label.isEmpty || $0.contains(label))
                }
                .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }
                .reduce(0, +)
        }
    }

    /// Starts a gateway without rate limits for bulk requests.
    func startGateway(
        simulator: SimulatorServer, name: String, apps: [String] = ["com.example.app"]
    ) async throws -> GatewayServer {
        let lines = apps.map { app in
            """
              - bundle_id: \(app)
                key: {file: \(simulator.keyFile), key_id: DEMOKEY000, team_id: DEMOTEAM00}
                endpoint: {host: localhost, port: \(simulator.port), ca_file: \(simulator.caFile)}
            """
        }
        let configuration = """
            listen: {host: 127.0.0.1, port: 0}
            store: {path: \(folder)/store-\(name)}
            apps:
            \(lines.joined(separator: "\n"))
            limits: {batch: {rate: 0}}
            shutdown: {grace: 0s}
            log: {level: error}
            """
        let file = try write(Array(configuration.utf8), to: "gateway-\(name).yaml")
        let process = try BenchProcess(BenchProcess.godwit, ["serve", "--config", file])
        let line = try await process.waitForLine(containing: "godwit: ready on")
        guard let url = line.split(separator: " ").last else {
            throw BenchError("cannot read the port from \"\(line)\"")
        }
        return GatewayServer(process: process, url: String(url))
    }

    struct PlainServer {
        var process: BenchProcess
        var port: Int
    }

    /// Starts nghttpd, which returns 200 for every POST to the path of a file: here, an empty file for each token.
    func startNghttpd(certificate: String, key: String, tokens: Int) async throws -> PlainServer {
        let documents = "\(folder)/documents"
        try FileManager.default.createDirectory(atPath: documents + "/3/device", withIntermediateDirectories: true)
        for number in 0..<tokens {
            try Data().write(to: URL(fileURLWithPath: "\(documents)/3/device/\(BenchPayload.hexToken(number))"))
        }
        let port = try Self.freePort()
        let process = try BenchProcess(
            try BenchProcess.find("nghttpd"),
            ["-a", "127.0.0.1", "-n", "1", "-m", "1000", "-d", documents, "\(port)", key, certificate]
        )
        try await Self.waitForPort(port)
        return PlainServer(process: process, port: port)
    }

    /// Starts nginx, which returns 200 before it has read the body, and then resets the stream.
    func startNginx(certificate: String, key: String) async throws -> PlainServer {
        let port = try Self.freePort()
        let configuration = """
            daemon off;
            error_log stderr;
            pid \(folder)/nginx.pid;
            events { worker_connections 1024; }
            http {
              access_log off;
              client_body_temp_path \(folder)/nginx-body;
              proxy_temp_path \(folder)/nginx-proxy;
              fastcgi_temp_path \(folder)/nginx-fastcgi;
              uwsgi_temp_path \(folder)/nginx-uwsgi;
              scgi_temp_path \(folder)/nginx-scgi;
              server {
                listen 127.0.0.1:\(port) ssl http2;
                ssl_certificate \(certificate);
                ssl_certificate_key \(key);
                location / { return 200; }
              }
            }
            """
        let file = try write(Array(configuration.utf8), to: "nginx.conf")
        let process = try BenchProcess(try BenchProcess.find("nginx"), ["-c", file, "-e", "stderr"])
        try await Self.waitForPort(port)
        return PlainServer(process: process, port: port)
    }

    func startEmptyRoute() async throws -> PlainServer {
        let port = try Self.freePort()
        let process = try BenchProcess(BenchProcess.lab, ["bench-empty-route", "--port", "\(port)"])
        _ = try await process.waitForLine(containing: "empty route:")
        return PlainServer(process: process, port: port)
    }

    // MARK: Ports

    static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        // SAFETY: `address` outlives both calls, and `length` is its size.
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
            }
        }
        guard result == 0 else { throw BenchError("no free port") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    static func waitForPort(_ port: Int) async throws {
        for _ in 0..<500 {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(descriptor) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(port).bigEndian
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            // SAFETY: `address` outlives the call.
            let result = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            if result == 0 { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw BenchError("nothing listens on port \(port)")
    }
}
