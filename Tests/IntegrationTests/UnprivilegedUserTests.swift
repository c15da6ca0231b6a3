import Foundation
import PushTesting
import Testing

/// The gateway needs no privileges. Tests as root would not detect a call that only root may make.
@Suite struct `A user without privileges` {
    @Test func `can run the gateway and deliver pushes`() async throws {
        let folder = try TemporaryFolder()
        let program = folder.file("godwit")
        try FileManager.default.copyItem(atPath: Repository.godwit, toPath: program)
        for path in [folder.path, program] {
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        }
        let data = folder.file("data")
        try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: false)
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: data)
        // Users other than root keep their identity. 65534 is the unprivileged user of Debian.
        let dropPrivileges =
            getuid() == 0 ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"] : []
        let words =
            dropPrivileges + [
                program, "demo", "--once", "--port", "0", "--simulator-port", "0", "--control-port", "0", "--directory",
                "\(data)/demo",
            ]
        let demo = try await run(words[0], Array(words.dropFirst()), folder: data)
        #expect(demo.exit == .status(0), "\(demo.error)")
        #expect(demo.output.contains(/an alert +delivered/), "\(demo.output)\(demo.error)")
        #expect(demo.output.contains(/a silent push +delivered/), "\(demo.output)\(demo.error)")
    }
}
