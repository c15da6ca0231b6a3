import Foundation
import PushTesting
import Testing

/// A start that cannot succeed exits with status 1 and reports the reason in one line.
@Suite struct `A start fails if` {
    @Test func `the port is in use`() async throws {
        let setup = try StartSetup()
        let other = try LoopbackListener()
        try await setup.expectFailure(
            port: other.port,
            reporting: [
                "cannot listen on 127.0.0.1:\(other.port): address already in use; find the process that has it with: "
                    + "ss -ltnp 'sport = :\(other.port)', or change listen.port or --port"
            ])
    }

    @Test(arguments: ["--port", "--simulator-port", "--control-port"])
    func `a port of the demo is in use`(_ option: String) async throws {
        let folder = try TemporaryFolder()
        let other = try LoopbackListener()
        var arguments = ["demo", "--port", "0", "--simulator-port", "0", "--control-port", "0"]
        arguments[try #require(arguments.firstIndex(of: option)) + 1] = "\(other.port)"
        let result = try await run(Repository.godwit, arguments, folder: folder.path)
        #expect(result.exit == .status(1))
        #expect(
            result.error
                == "Error: port \(other.port) is in use; choose another with \(option) (0: any free port)\n")
        #expect(!FileManager.default.fileExists(atPath: folder.file(".demo")))
    }

    @Test(arguments: ["demo", "simulate"]) func `the folder for keys cannot be written`(_ command: String) async throws
    {
        // Not even root can create a folder there.
        let folder = "/proc/godwit-demo"
        let result = try await run(
            Repository.godwit, [command, "--port", "0", "--control-port", "0", "--directory", folder])
        #expect(result.exit == .status(1))
        #expect(
            result.error.hasPrefix("Error: folder \(folder)")
                && result.error.hasSuffix("; choose another folder with --directory\n"), "\(result.error)")
        #expect(result.error.split(separator: "\n").count == 1)
    }

    @Test func `two ports of the demo are the same`() async throws {
        let folder = try TemporaryFolder()
        let port = "\(try freePort())"
        let arguments = ["demo", "--port", port, "--simulator-port", port, "--control-port", "0"]
        let result = try await run(Repository.godwit, arguments, folder: folder.path)
        #expect(result.exit == .status(1))
        #expect(result.error.contains("cannot listen"), "\(result.error)")
        #expect(!FileManager.default.fileExists(atPath: folder.file(".demo")))
    }

    @Test func `the folder of the store cannot be created`() async throws {
        let setup = try StartSetup()
        // Not even root can create a folder there.
        try await setup.expectFailure(store: "/proc/godwit-data", reporting: ["/proc/godwit-data"])
    }

    @Test func `the folder of the store is a file`() async throws {
        let setup = try StartSetup()
        let file = try setup.folder.write("hello", to: "data")
        try await setup.expectFailure(store: file, reporting: [file])
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "hello")
    }

    @Test(arguments: [nil, "", "hello", "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n"])
    func `the key file cannot be used`(_ contents: String?) async throws {
        let setup = try StartSetup()
        try FileManager.default.removeItem(atPath: setup.key)
        if let contents { try setup.folder.write(contents, to: "AuthKey.p8") }
        try await setup.expectFailure(reporting: ["AuthKey.p8"])
    }

    @Test(arguments: [(nil, "no such file"), ("hello", "contains no certificate in PEM")])
    func `the roots to trust cannot be used`(_ contents: String?, _ why: String) async throws {
        let setup = try StartSetup()
        if let contents { try setup.folder.write(contents, to: "ca.pem") }
        try await setup.expectFailure(endpoint: "{host: localhost, ca_file: ca.pem}", reporting: ["ca.pem", why])
    }

    @Test func `the logs that godwit-lab torture is to check are missing`() async throws {
        let folder = try TemporaryFolder()
        let result = try await run(Repository.godwitLab, ["torture", "--check", folder.file("typo")])
        #expect(result.exit == .status(1))
        #expect(result.error.contains("typo has no logs of a run"), "\(result.error)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("typo")))
    }

    @Test func `a command or an option has another name now`() async throws {
        let moved = try await run(Repository.godwit, ["torture", "--pushes", "10"])
        #expect(moved.exit == .status(2))
        #expect(moved.error == "Error: 'godwit torture' is 'godwit-lab torture' now\n")
        let renamed = try await run(
            Repository.godwit, ["send", "--token", "ab", "--alert", "x", "--answer-timeout", "5"])
        #expect(renamed.exit == .status(2))
        #expect(renamed.error == "Error: '--answer-timeout' is '--response-timeout' now\n")
    }

    @Test func `the database is of a newer version`() async throws {
        let setup = try StartSetup()
        let gateway = try await setup.start()
        try await gateway.waitForLine(containing: "ready on")
        gateway.signal(SIGTERM)
        #expect(try await gateway.waitForExit() == .status(0))
        let script =
            "import sqlite3,sys; d=sqlite3.connect(sys.argv[1]); d.execute('PRAGMA user_version=1000'); d.commit()"
        let changed = try await run("python3", ["-c", script, "\(setup.store)/godwit.sqlite"])
        #expect(changed.exit == .status(0), "\(changed.error)")
        try await setup.expectFailure(reporting: ["newer version"])
    }

    @Test func `the database is another kind of file`() async throws {
        let setup = try StartSetup()
        try FileManager.default.createDirectory(atPath: setup.store, withIntermediateDirectories: false)
        try setup.folder.write(String(repeating: "not a database ", count: 1000), to: "data/godwit.sqlite")
        try await setup.expectFailure(reporting: ["godwit.sqlite"])
    }

    @Test func `another process has the store`() async throws {
        let setup = try StartSetup()
        let first = try await setup.start()
        try await first.waitForLine(containing: "ready on")
        try await setup.expectFailure(reporting: ["another process", "\(first.processID)"])
        #expect(first.exit == nil)
        // A crash leaves no lock that would prevent the next start.
        try await first.kill()
        let next = try await setup.start()
        try await next.waitForLine(containing: "ready on")
        next.signal(SIGTERM)
        #expect(try await next.waitForExit() == .status(0))
    }

    @Test func `the configuration is missing or has problems`() async throws {
        let setup = try StartSetup()
        let missing = try await run(Repository.godwit, ["serve", "--config", setup.folder.file("nothing.yaml")])
        #expect(missing.exit == .status(1))
        #expect(missing.error.contains("nothing.yaml"))
        let wrong =
            "listen: {port: 99999999}\nstor: {path: x}\napps:\n  - bundle_id: a\n    key: {file: k, key_id: SHORT}\n"
        let file = try setup.folder.write(wrong, to: "wrong.yaml")
        let result = try await run(Repository.godwit, ["serve", "--config", file])
        #expect(result.exit == .status(1))
        for word in ["stor", "team_id"] { #expect(result.error.contains(word), "\(result.error)") }
        #expect(!result.error.contains("Fatal error"))
    }
}

/// A folder with the key, the configuration and the store of a gateway.
private struct StartSetup {
    let folder: TemporaryFolder
    let key: String
    var store: String { folder.file("data") }

    init() throws {
        folder = try TemporaryFolder()
        // A key for this test only.
        key = try folder.write(
            """
            -----BEGIN PRIVATE KEY-----
            MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgD2eBqNOZ0J0v2CyX
            /hrxQXl1q30Tn7LTmyyJUx97CgahRANCAASHC71a4mVNEihuBhkUeumRhXlUtGXN
            k0wehpdTajwKpJUlDPcHDy3TdAySIfpNAeq4VId6b1nA9caVGfC4sXA0
            -----END PRIVATE KEY-----

            """, to: "AuthKey.p8"
        )
    }

    func start(port: Int = 0, store: String? = nil, endpoint: String? = nil) async throws -> ChildProcess {
        let configuration = """
            listen: {host: 127.0.0.1, port: \(port)}
            store: {path: \(store ?? self.store)}
            apps:
              - bundle_id: com.example.app
                key: {file: AuthKey.p8, key_id: ABCDE12345, team_id: TEAM123456}
                \(endpoint.map { "endpoint: \($0)" } ?? "")
            """
        return try ChildProcess(
            Repository.godwit, ["serve", "--config", try folder.write(configuration, to: "godwit.yaml")]
        )
    }

    func expectFailure(
        port: Int = 0, store: String? = nil, endpoint: String? = nil, reporting words: [String]
    ) async throws {
        let process = try await start(port: port, store: store, endpoint: endpoint)
        #expect(try await process.waitForExit(within: .seconds(60)) == .status(1))
        let text = process.text(.error)
        for word in words { #expect(text.contains(word), "\(text)") }
        let errors = text.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
        #expect(errors.count == 1, "\(text)")
        #expect(!text.contains("Fatal error"), "\(text)")
        #expect(!process.text(.output).contains("ready on"))
    }
}
