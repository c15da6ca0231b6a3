import APNSWire
import ArgumentParser

/// Cancels pushes that wait.
struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Cancel pushes that wait: by id, by bulk request, or all of an app.",
        discussion: """
            A push that is being sent cannot be cancelled any more.

              godwit cancel 0190b3a5-7c1e-7d6f-8a51-5d0c8f3b0000
              godwit cancel --request campaign-7
              godwit cancel --app com.example.app

            Exit status: 0 when everything that was asked for is cancelled, 1 when something was not, nothing was found \
            or the gateway cannot be reached, 2 when the command line is wrong.
            """
    )

    @Argument(help: "Ids of pushes.")
    var ids: [String] = []

    @Option(help: "Cancel all pushes of the bulk request that had this X-Request-Id.")
    var request: String?

    @Option(help: "Cancel all pushes of this app.")
    var app: String?

    @OptionGroup var gateway: TimeoutOption

    @Flag(name: .customLong("json"), help: "Print the gateway's JSON as it is.")
    var isJSON = false

    func validate() throws {
        guard [!ids.isEmpty, request != nil, app != nil].count(where: { $0 }) == 1 else {
            throw ValidationError("give ids, or --request, or --app")
        }
        for id in ids where APNSID(id) == nil { throw ValidationError("\(id) is not an id of a push") }
    }

    func run() async throws {
        let isGood = try await gateway.call { api in
            ids.isEmpty ? try await cancelTarget(api) : try await cancelIDs(api)
        }
        if !isGood { throw ExitCode.failure }
    }

    private func ask(_ api: GatewayAPI, _ body: [UInt8]) async throws -> CancelResponse {
        let answer = try await api.post("/api/v1/messages/cancel", body)
        if isJSON { Terminal.say(JSONResponse.trimmed(answer)) }
        return try ControlResponses.decode(CancelResponse.self, from: answer)
    }

    private func cancelIDs(_ api: GatewayAPI) async throws -> Bool {
        let ids = ids.compactMap { APNSID($0) }
        var cancelled = 0
        for start in stride(from: 0, to: ids.count, by: GatewayAPI.idsPerQuery) {
            let page = ids[start..<min(start + GatewayAPI.idsPerQuery, ids.count)]
            let answer = try await ask(api, ControlRequest.body(ids: page))
            cancelled += answer.cancelled
            if !isJSON { for line in answer.lines { Terminal.say(line) } }
        }
        if !isJSON, ids.count > 1 { Terminal.say("\n\(cancelled.grouped) of \(ids.count.grouped) cancelled") }
        return cancelled == ids.count
    }

    private func cancelTarget(_ api: GatewayAPI) async throws -> Bool {
        let body =
            if let request { ControlRequest.body("request_id", request) } else {
                ControlRequest.body("app", app ?? "")
            }
        let answer = try await ask(api, body)
        if !isJSON {
            let pushes = answer.cancelled == 1 ? "1 push" : "\(answer.cancelled.grouped) pushes"
            let late = answer.tooLate == 0 ? "" : "; \(answer.tooLate.grouped) too late, being sent"
            Terminal.say(answer.cancelled + answer.tooLate == 0 ? "nothing waits" : "\(pushes) cancelled\(late)")
        }
        return answer.tooLate == 0 && answer.cancelled > 0
    }
}
