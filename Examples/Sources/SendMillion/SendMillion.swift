import APNSWire
import Foundation
import Recipes

/// SendMillion FILE-OR-NUMBER TEXT
///
/// Sends TEXT to the device tokens in a file, one per line in hexadecimal. A number generates that many tokens, for a
/// simulator.
@main struct Program {
    static func main() async {
        do {
            let settings = try Settings(ProcessInfo.processInfo.environment)
            guard CommandLine.arguments.count == 3 else {
                throw RecipeError("usage: SendMillion FILE-OR-NUMBER TEXT")
            }
            let payload = APNSPayload(alert: Alert(body: CommandLine.arguments[2]))
            let tokens = try tokens(CommandLine.arguments[1])
            let summary = try await ManyPushes.run(settings, to: tokens, payload: payload) { summary in
                FileHandle.standardError.write(Data("\r\(summary.total) pushes".utf8))
            }
            FileHandle.standardError.write(Data("\n".utf8))
            print(summary.text)
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(1)
        }
    }

    private static func tokens(_ argument: String) throws -> [DeviceToken] {
        if let count = Int(argument) {
            return (0..<count).map { number in
                DeviceToken(bytes: (0..<32).map { UInt8(truncatingIfNeeded: $0 < 8 ? number >> ($0 * 8) : $0) })!
            }
        }
        let lines = try String(contentsOfFile: argument, encoding: .utf8).split(whereSeparator: \.isNewline)
        return try lines.enumerated().map { number, line in
            guard let token = DeviceToken(hex: line) else {
                throw RecipeError("line \(number + 1) is not a device token")
            }
            return token
        }
    }
}
