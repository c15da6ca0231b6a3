import APNSWire
import Foundation
import Recipes

/// SendOne TOKEN [TEXT]
@main struct Program {
    static func main() async {
        do {
            let settings = try Settings(ProcessInfo.processInfo.environment)
            let arguments = CommandLine.arguments.dropFirst()
            let token = try Settings.token(arguments.first)
            let text = arguments.dropFirst().first ?? "Tea is ready"
            let now = UNIXTime(secondsSince1970: Int64(Date().timeIntervalSince1970))
            let result = try await OnePush.run(settings, to: token, text: text, now: now)
            print(result)
            if result != .accepted { exit(1) }
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(1)
        }
    }
}
