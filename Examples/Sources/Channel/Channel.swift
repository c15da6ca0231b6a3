import APNSWire
import Foundation
import Recipes

/// Channel, without arguments.
@main struct Program {
    static func main() async {
        do {
            let settings = try Settings(ProcessInfo.processInfo.environment)
            let now = UNIXTime(secondsSince1970: Int64(Date().timeIntervalSince1970))
            let result = try await MatchChannel.run(settings, now: now)
            print("created, published, listed \(result.listed.count), deleted \(result.channel)")
        } catch {
            // The description of an `APNSChannelError` includes what to do next.
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(1)
        }
    }
}
