import ArgumentParser
import GodwitCLI
import Hummingbird
import Logging

/// The reference for the single-push route: a Hummingbird server with one route that decodes a small JSON object with
/// Foundation, as applications do, and encodes another one.
struct EmptyRoute: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-empty-route", abstract: "Run the reference server of a benchmark.", shouldDisplay: false)

    @Option var port: Int

    private struct PushRequest: Decodable {
        var deviceToken: String

        enum CodingKeys: String, CodingKey {
            case deviceToken = "device_token"
        }
    }

    private struct PushResponse: ResponseEncodable {
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
            let push = try await request.decode(as: PushRequest.self, context: context)
            return PushResponse(messageID: push.deviceToken, status: "accepted", code: 0, timestamp: 1_712_000_000)
        }
        var logger = Logger(label: "bench")
        logger.logLevel = .error
        let port = port
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: port)),
            onServerRunning: { _ in Terminal.writeOutput("empty route: http://127.0.0.1:\(port)") }, logger: logger
        )
        try await application.runService()
    }
}
