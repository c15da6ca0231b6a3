import Foundation
import PushTesting
import Testing

/// Runs every seed and every finding of the fuzzers.
@Suite struct `Fuzz corpus` {
    @Test(arguments: ["ErrorBody", "GoAway", "Frames"]) func `violates no property`(_ target: String) throws {
        let folder = "\(Repository.root)/Fuzz/corpus/\(target)"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        #expect(names.count > 5)
        for name in names {
            let bytes = Array(try Data(contentsOf: URL(filePath: "\(folder)/\(name)")))
            do {
                try bytes.withUnsafeBytes { try Self.run(target, $0) }
            } catch {
                Issue.record("\(name): \(error)")
            }
        }
    }

    private static func run(_ target: String, _ bytes: UnsafeRawBufferPointer) throws {
        switch target {
        case "ErrorBody": try FuzzTargets.errorBody(bytes)
        case "GoAway": try FuzzTargets.goAway(bytes)
        default: try FuzzTargets.frames(bytes)
        }
    }
}
