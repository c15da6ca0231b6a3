import Foundation
import PushTesting
import Testing

/// A start that cannot succeed says why in one sentence, with status 1, and leaves nothing behind.
@Suite struct `Starts that cannot succeed` {
    @Test func `the port is in use`() async throws {
        let place = try Place()
        let other = try LoopbackListener()
        try await place.expectFailure(port: other.port, saying: ["\(other.port)"])
    }

    @Test func `the folder of the store cannot be made`() async throws {
        let place = try Place()
        // Even root can make nothing there.
        try await place.expectFailure(store: "/proc/godwit-data", saying: ["/proc/godwit-data"])
    }

    @Test func `the store's place is a file`() async throws {
        let place = try Place()
        let file = try place.folder.write("hello", to: "data")
        try await place.expectFailure(store: file, saying: [file])
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "hello")
    }

    @Test(arguments: [nil, "", "hello", "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n"])
    func `the key file cannot be used`(_ contents: String?) async throws {
        let place = try Place()
        try FileManager.default.removeItem(atPath: place.key)
        if let contents { try place.folder.write(contents, to: "AuthKey.p8") }
        try await place.expectFailure(saying: ["AuthKey.p8"])
    }

    @Test(arguments: [(nil, "there is no such file"), ("hello", "no certificates in PEM")])
    func `the roots to trust cannot be used`(_ contents: String?, _ why: String) async throws {
        let place = try Place()
        if let contents { try place.folder.write(contents, to: "ca.pem") }
        try await place.expectFailure(endpoint: "{host: localhost, ca_file: ca.pem}", saying: ["ca.pem", why])
    }

    @Test func `the logs of a run that are to be judged are not there`() async throws {
        let folder = try TemporaryFolder()
        let result = try await run(Repository.godwitLab, ["torture", "--judge", folder.file("typo")])
        #expect(result.exit == .status(1))
        #expect(result.error.contains("typo is no folder with the logs of a run"), "\(result.error)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("typo")))
    }

    @Test func `the database is of a newer version`() async throws {
        let place = try Place()
        let gateway = try await place.start()
        try await gateway.waitForLine(containing: "ready on")
        gateway.signal(SIGTERM)
        #expect(try await gateway.waitForExit() == .status(0))
        let script =
            "import sqlite3,sys; d=sqlite3.connect(sys.argv[1]); d.execute('PRAGMA user_version=1000'); d.commit()"
        let changed = try await run("python3", ["-c", script, "\(place.store)/godwit.sqlite"])
        #expect(changed.exit == .status(0), "\(changed.error)")
        try await place.expectFailure(saying: ["newer version"])
    }

    @Test func `the database is somebody else's file`() async throws {
        let place = try Place()
        try FileManager.default.createDirectory(atPath: place.store, withIntermediateDirectories: false)
        try place.folder.write(String(repeating: "not a database ", count: 1000), to: "data/godwit.sqlite")
        try await place.expectFailure(saying: ["godwit.sqlite"])
    }

    @Test func `another process has the store`() async throws {
        let place = try Place()
        let first = try await place.start()
        try await first.waitForLine(containing: "ready on")
        try await place.expectFailure(saying: ["another process", "\(first.processID)"])
        #expect(first.exit == nil)
        // A crash leaves nothing behind that would keep the next one out.
        try await first.kill()
        let next = try await place.start()
        try await next.waitForLine(containing: "ready on")
        next.signal(SIGTERM)
        #expect(try await next.waitForExit() == .status(0))
    }

    @Test func `the configuration is missing, or wrong in several places`() async throws {
        let place = try Place()
        let missing = try await run(Repository.godwit, ["serve", "--config", place.folder.file("nothing.yaml")])
        #expect(missing.exit == .status(1))
        #expect(missing.error.contains("nothing.yaml"))
        let wrong =
            "listen: {port: 99999999}\nstor: {path: x}\napps:\n  - bundle_id: a\n    key: {file: k, key_id: SHORT}\n"
        let file = try place.folder.write(wrong, to: "wrong.yaml")
        let result = try await run(Repository.godwit, ["serve", "--config", file])
        #expect(result.exit == .status(1))
        for word in ["stor", "team_id"] { #expect(result.error.contains(word), "\(result.error)") }
        #expect(!result.error.contains("Fatal error"))
    }
}

/// A folder with all that a gateway needs to start.
private struct Place {
    let folder: TemporaryFolder
    let key: String
    var store: String { folder.file("data") }

    init() throws {
        folder = try TemporaryFolder()
        // A key that was made for this test and opens nothing.
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
        port: Int = 0, store: String? = nil, endpoint: String? = nil, saying words: [String]
    ) async throws {
        let process = try await start(port: port, store: store, endpoint: endpoint)
        #expect(try await process.waitForExit(within: .seconds(60)) == .status(1))
        let text = process.text(.error)
        for word in words { #expect(text.contains(word), "\(text)") }
        let sentences = text.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
        #expect(sentences.count == 1, "\(text)")
        #expect(!text.contains("Fatal error"), "\(text)")
        #expect(!process.text(.output).contains("ready on"))
    }
}
