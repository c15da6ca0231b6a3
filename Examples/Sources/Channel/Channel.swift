import Foundation
import Recipes

/// Channel: takes no arguments.
@main struct Program {
    static func main() async {
        do {
            let settings = try Settings(ProcessInfo.processInfo.environment)
            let result = try await MatchChannel.run(settings, now: Int64(Date().timeIntervalSince1970))
            print("created, published, listed \(result.listed.count), deleted \(result.channel)")
        } catch {
            // A channel error says what to do.
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(1)
        }
    }
}
