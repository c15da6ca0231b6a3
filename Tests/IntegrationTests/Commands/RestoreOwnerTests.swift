import APNSSimulator
import Foundation
import PushTesting
import Testing

/// `godwit restore`, which root calls for the gateway's user.
@Suite struct `A restore` {
    @Test(.needsRoot) func `as root, keeps the owner of the data folder`() async throws {
        let folder = try TemporaryFolder()
        let store = folder.file("store")
        try folder.write(SimulatorCredentials().privateKeyPEM, to: "key.p8")
        let file = try folder.write(
            """
            listen: {port: 0}
            store: {path: store}
            apps:
              - bundle_id: com.example.app
                key: {file: key.p8, key_id: ABCDE12345, team_id: TEAM123456}
            shutdown: {grace: 0s}
            """, to: "godwit.yaml")
        let gateway = try ChildProcess(Repository.godwit, ["serve", "--config", file])
        try await gateway.waitForLine(containing: "ready on")
        gateway.signal(SIGTERM)
        #expect(try await gateway.waitForExit() == .status(0))
        let backup = folder.file("backup")
        #expect(try await run(Repository.godwit, ["backup", "--config", file, "--to", backup]).exit == .status(0))

        // The folder of another user, with a second name of a file that does not belong to it.
        try FileManager.default.removeItem(atPath: store)
        try FileManager.default.createDirectory(atPath: store, withIntermediateDirectories: false)
        let foreign = try folder.write("mine", to: "foreign")
        try FileManager.default.linkItem(atPath: foreign, toPath: "\(store)/link")
        try #require(chown(store, 65534, 65533) == 0)
        for more in [[], ["--replace", "--paused"]] {
            let result = try await run(
                Repository.godwit, ["restore", "--config", file, "--from", backup] + more)
            #expect(result.exit == .status(0), "\(result.error)")
            let names = try FileManager.default.contentsOfDirectory(atPath: store).filter { $0 != "link" }
            #expect(names.contains("godwit.sqlite"))
            for name in names { #expect(Self.owner(of: "\(store)/\(name)") == [65534, 65533], "\(name)") }
        }
        #expect(Self.owner(of: foreign) == [0, 0])
    }

    private static func owner(of path: String) -> [UInt32] {
        var status = stat()
        return stat(path, &status) == 0 ? [status.st_uid, status.st_gid] : []
    }
}
