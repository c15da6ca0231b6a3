import APNSSimulator
import Foundation
import PushTesting
import Testing

/// How client commands prove to a proxy or gateway who they are.
@Suite struct `Credentials on the command line` {
    private static let secret = "hunter2"

    /// A server that prints the headers of each request as JSON.
    private static let server = """
        import http.server, json
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                print(json.dumps({k.lower(): v for k, v in self.headers.items()}), flush=True)
                body = b'{"apps":[]}'
                self.send_response(302 if self.path.startswith("/moved") else 200)
                self.send_header("Location", "/api/v1/apps")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *arguments): pass
        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        print("port %d" % server.server_port, flush=True)
        server.serve_forever()
        """

    @Test func `are sent, and never printed`() async throws {
        let server = try ChildProcess("python3", ["-c", Self.server])
        let port = try await server.waitForLine(containing: "port ").dropFirst(5)
        let folder = try TemporaryFolder()
        let keyFile = try folder.write("\u{FEFF}\(Self.secret)\r\n", to: "key")
        let host = "127.0.0.1:\(port)"
        let basic = "Basic " + Data("me:\(Self.secret)".utf8).base64EncodedString()
        let cases: [(arguments: [String], environment: [String: String], authorization: String?)] = [
            ([], [:], nil), (["--api-key-file", keyFile], [:], "Bearer \(Self.secret)"),
            ([], ["GODWIT_API_KEY": Self.secret], "Bearer \(Self.secret)"),
            (["--api-key-file=~/key"], ["HOME": folder.path, "GODWIT_API_KEY": "other"], "Bearer \(Self.secret)"),
            (["--url", "http://me:\(Self.secret)@\(host)"], [:], basic),
            ([], ["GODWIT_URL": "http://me:\(Self.secret)@\(host)/"], basic),
            (["--header", "X-One: 1", "--header", "X-Two:2"], [:], nil),
        ]
        var requests = 0
        for one in cases {
            let environment = ["GODWIT_URL": "http://\(host)"].merging(one.environment) { $1 }
            let result = try await run(Repository.godwit, ["apps"] + one.arguments, environment: environment)
            #expect(result.exit == .status(0), "\(result.error)")
            #expect(!(result.output + result.error).contains(Self.secret))
            requests += 1
            let lines = server.text().split(separator: "\n").dropFirst()
            try #require(lines.count == requests)
            let headers = try #require(try objects(String(lines.last ?? "")).first)
            #expect(headers["authorization"] as? String == one.authorization)
            #expect((headers["x-one"] as? String == "1") == one.arguments.contains("X-One: 1"))
            #expect((headers["x-two"] as? String == "2") == one.arguments.contains("X-One: 1"))
        }
        // A pipe, as of a password manager.
        let piped = try await run(
            "bash", ["-c", "\(Repository.godwit) apps --url http://\(host) --api-key-file <(echo \(Self.secret))"])
        #expect(piped.exit == .status(0), "\(piped.error)")
        #expect(server.text().split(separator: "\n").last?.contains("Bearer \(Self.secret)") == true)
        // Another server would receive the headers of the caller.
        let moved = try await run(Repository.godwit, ["apps", "--url", "http://\(host)/moved"])
        #expect(moved.exit == .status(1) && moved.error.contains("redirects"), "\(moved.error)")
    }

    /// Command lines and their exit status.
    private static let wrong: [(arguments: [String], status: Int32)] = [
        (["apps", "--url", "http://me:hunter2@127.0.0.1:1"], 1), (["apps", "--url", "http://me:hunter2@h:x"], 2),
        (["apps", "--url", "me:hunter2@127.0.0.1"], 2), (["apps", "--api-key-file", "hunter2"], 1),
        (["apps", "--api-key-file", "/etc/hosts"], 1), (["apps", "--header", "hunter2"], 2),
        (["apps", "--timeout", "hunter2"], 2), (["apps", "--api-key=hunter2"], 2),
        (["send", "--token", "ab", "--alert", "x", "--url", "http://me:hunter2@127.0.0.1:1"], 1),
        (["send", "--token", "ab", "--payload", "hunter2"], 2),
        (["cancel", "sk_hunter2_0123456789abcdef"], 2), (["serve", "sk_hunter2_0123456789abcdef"], 2),
    ]

    @Test(arguments: wrong)
    func `are not part of an error, even in the wrong place`(_ arguments: [String], _ status: Int32) async throws {
        let result = try await run(Repository.godwit, arguments)
        #expect(result.exit == .status(status), "\(result.error)")
        #expect(result.error.hasPrefix("Error: ") && !result.error.contains(Self.secret), "\(result.error)")
    }

    @Test func `of the server are checked with the certificates of --ca`() async throws {
        let folder = try TemporaryFolder()
        let simulator = try await Simulator.start(SimulatorConfiguration(.faithful, authentication: .unverified))
        let ca = try folder.write("\u{FEFF}" + simulator.certificateAuthorityPEM, to: "ca.pem")
        let url = "https://localhost:\(simulator.port)"
        let untrusted = try await run(Repository.godwit, ["apps", "--url", url])
        #expect(
            untrusted.exit == .status(1) && untrusted.error.contains("not trusted; --ca FILE"), "\(untrusted.error)")
        // The simulator is no gateway, but the handshake succeeds.
        let trusted = try await run(Repository.godwit, ["apps", "--url", url, "--ca", ca])
        #expect(trusted.error == "Error: \(url) does not respond like a Godwit gateway\n", "\(trusted.error)")
        for file in [folder.file("missing"), try folder.write("x", to: "empty.pem"), folder.path] {
            let result = try await run(Repository.godwit, ["apps", "--url", url, "--ca", file])
            #expect(result.exit == .status(1) && result.error.hasPrefix("Error: --ca \(file) "), "\(result.error)")
        }
        try await simulator.shutdown()
    }
}
