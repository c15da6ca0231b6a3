import APNSSimulator
import Foundation
import PushTesting
import Testing

@Suite struct `godwit check` {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func openssl(_ arguments: String...) async throws {
        let result = try await run("openssl", arguments, folder: folder.path)
        try #require(result.exit == .status(0), "\(result.error)")
    }

    private func write(_ text: String, to name: String, mode: Int = 0o600) throws {
        let path = try folder.write(text, to: name)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    private func check(_ configuration: String, command: [String] = ["check"]) async throws -> ProgramResult {
        let file = try folder.write(configuration, to: "godwit.yaml")
        return try await run(Repository.godwit, command + ["--config", file])
    }

    private static let broken = """
        listen: {port: 99999}
        store: {path: file}
        apps:
          - bundle_id: com.example.one
            key: {file: missing.p8, key_id: ABCDE12345, team_id: TEAM123456}
          - bundle_id: com.example.two
            certificate:
              p12_file: push.p12
              password_file: wrong.password
          - bundle_id: com.example.three
            key:
              file: rsa.p8
              key_id: ABCDE12345
              team_id: TEAM123456
            endpoint:
              host: localhost
              ca_file: file
            environments:
              sandbox:
                endpoint: {host: localhost, ca_file: file}
                key:
                  file: folder
                  key_id: SHORT
                  team_id: TEAM123456
        nonsense: true
        apns: {proxy: {host: proxy, user: me, password_file: none}}
        """

    private func prepareBroken() async throws {
        try write("hello", to: "file")
        try FileManager.default.createDirectory(
            atPath: folder.file("folder"), withIntermediateDirectories: false)
        try await openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "90", "-keyout", "x.key",
            "-out",
            "x.pem")
        try await openssl(
            "pkcs12", "-export", "-in", "x.pem", "-inkey", "x.key", "-out", "push.p12", "-passout", "pass:s3same")
        try await openssl("pkey", "-in", "x.key", "-out", "rsa.p8")
        try write("s3sam\n", to: "wrong.password")
    }

    private static let findings = [
        "line 1: listen.port must be 0 to 65535", "line 2: store.path: ",
        "line 5: app \"com.example.one\": the key file ", "line 8: app \"com.example.two\": ",
        "line 12: app \"com.example.three\": the key file ", "line 17: app \"com.example.three\": ",
        "line 22: app \"com.example.three\": the key file ",
        "app \"com.example.three\": environments.sandbox: key.key_id must have 10 characters",
        "line 25: nonsense is not a known key", "line 26: apns.proxy.password_file ",
    ]

    @Test(arguments: [["check"], ["serve"]])
    func `reports all problems together, each with its line`(_ command: [String]) async throws {
        try await prepareBroken()
        let result = try await check(Self.broken, command: command)
        #expect(result.exit == .status(1) && result.output.isEmpty)
        for finding in Self.findings { #expect(result.error.contains(finding), "\(finding) in:\n\(result.error)") }
        let lines = result.error.split(separator: "\n").filter { $0.hasPrefix("  - ") }
        #expect(lines.count == Self.findings.count, "\(result.error)")
        for reason in [
            "no such file", "the password is wrong", "it is an RSA key", "contains no certificate", "it is a folder",
            "is not a folder",
        ] { #expect(result.error.contains(reason), "\(reason) in:\n\(result.error)") }
        #expect(!result.error.contains("s3sam"))
    }

    @Test func `accepts a configuration that a gateway starts with, and changes nothing`() async throws {
        try write(SimulatorCredentials().privateKeyPEM, to: "key.p8")
        let configuration = """
            store: {path: new/store}
            apps:
              - bundle_id: com.example.one
                key: {file: key.p8, key_id: ABCDE12345, team_id: TEAM123456}
            """
        let result = try await check(configuration)
        #expect(result.exit == .status(0) && result.error.isEmpty, "\(result.error)")
        #expect(result.output == "\(folder.file("godwit.yaml")): no problems, 1 app\n")
        #expect(!FileManager.default.fileExists(atPath: folder.file("new")))

        // A running gateway is not disturbed.
        let gateway = try ChildProcess(
            Repository.godwit, ["serve", "--port", "0", "--config", folder.file("godwit.yaml")])
        try await gateway.waitForLine(containing: "ready on")
        #expect(try await check(configuration).exit == .status(0))
        gateway.signal(SIGTERM)
        #expect(try await gateway.waitForExit() == .status(0))
    }

    @Test func `warns of exposed files and of certificates that end`() async throws {
        try write(SimulatorCredentials().privateKeyPEM, to: "key.p8", mode: 0o644)
        try await openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x/UID=com.example.other", "-days", "5",
            "-keyout", "x.key", "-out", "x.pem")
        let result = try await check(
            """
            apps:
              - bundle_id: com.example.one
                key: {file: key.p8, key_id: ABCDE12345, team_id: TEAM123456}
              - bundle_id: com.example.two
                certificate: {file: x.pem, key_file: x.key}
            """)
        #expect(result.exit == .status(0), "\(result.error)")
        let warnings = result.error.split(separator: "\n")
        #expect(warnings.count == 3 && warnings.allSatisfy { $0.hasPrefix("warning: ") }, "\(result.error)")
        for text in [
            "line 3: \(folder.file("key.p8")) can be read or changed by every user (mode 0644)",
            "line 5: app \"com.example.two\": the certificate expires in 4 days",
            "line 5: app \"com.example.two\": the certificate does not list the bundle ID",
        ] { #expect(result.error.contains(text), "\(result.error)") }
    }

    @Test func `exits with status 2 if the command line is wrong`() async throws {
        #expect(try await run(Repository.godwit, ["check", "--nonsense"]).exit == .status(2))
        #expect(try await run(Repository.godwit, ["check", "file.yaml"]).exit == .status(2))
    }
}
