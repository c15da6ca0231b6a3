import ArgumentParser
import GodwitCLI
import Hummingbird
import Logging

/// The yardstick of the single-push route: a Hummingbird server with one route that decodes a small JSON object with
/// Foundation, as applications do, and answers with another.
struct EmptyRoute: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-empty-route", shouldDisplay: false)

    @Option var port: Int

    private struct Question: Decodable {
        var deviceToken: String

        enum CodingKeys: String, CodingKey {
            case deviceToken = "device_token"
        }
    }

    private struct Answer: ResponseEncodable {
        var messageID: String
        var status: String
        var code: Int
        var timestamp: Int

        enum CodingKeys: String, CodingKey {
            case messageID = "msg_id"
            case status, code, timestamp
        }
    }

    mutating func run() async throws {
        let router = Router()
        router.post("/push") { request, context in
            let question = try await request.decode(as: Question.self, context: context)
            return Answer(messageID: question.deviceToken, status: "accepted", code: 0, timestamp: 1_712_000_000)
        }
        var logger = Logger(label: "bench")
        logger.logLevel = .error
        let port = port
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: port)),
            onServerRunning: { _ in Terminal.say("empty route: http://127.0.0.1:\(port)") }, logger: logger
        )
        try await application.runService()
    }
}
