import APNSWire
import Foundation
import Recipes

/// LiveActivity START-TOKEN UPDATE-TOKEN
@main struct Program {
    static func main() async {
        do {
            let settings = try Settings(ProcessInfo.processInfo.environment)
            let arguments = CommandLine.arguments.dropFirst()
            let now = UNIXTime(secondsSince1970: Int64(Date().timeIntervalSince1970))
            let responses = try await MatchActivity.run(
                settings, startToken: try Settings.token(arguments.first),
                updateToken: try Settings.token(arguments.dropFirst().first), now: now
            )
            for (event, response) in zip(["start", "update", "end"], responses) {
                print("\(event): \(response.status) \(response.isAccepted ? "accepted" : response.advice.meaning)")
            }
            if !responses.allSatisfy(\.isAccepted) { exit(1) }
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(1)
        }
    }
}
