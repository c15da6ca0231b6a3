import ArgumentParser

/// Cancels waiting pushes.
struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Cancel waiting pushes: by ID, by bulk request, or all of an app.",
        discussion: """
            A push that is being sent can no longer be cancelled.

              godwit cancel 0190b3a5-7c1e-7d6f-8a51-5d0c8f3b0000
              godwit cancel --request campaign-7
              godwit cancel --app com.example.app

            Exit status: 0 if all selected pushes were cancelled; 1 if one was not, if no push matched, or if the \
            gateway cannot be reached; 2 if the command line is wrong.
            """
    )

    @Argument(help: "Push IDs.")
    var ids: [String] = []

    @Option(help: "Cancel all pushes of the bulk request with this X-Request-Id.")
    var request: String?

    @Option(help: "Cancel all pushes of this app.")
    var app: String?

    @OptionGroup var gateway: GatewayOptions

    func validate() throws {
        guard [!ids.isEmpty, request != nil, app != nil].count(where: { $0 }) == 1 else {
            throw ValidationError("give either push IDs, --request or --app")
        }
        _ = try PushIDs.parse(ids)
    }

    func run() async throws {
        let isComplete = try await gateway.call(app: app) { api in
            ids.isEmpty ? try await cancelSelection(api) : try await cancelIDs(api)
        }
        if !isComplete { throw ExitCode.failure }
    }

    private func post(_ body: [UInt8], to api: GatewayAPI) async throws -> CancelResponse {
        let response = try await api.post("/api/v1/messages/cancel", body)
        if gateway.isJSON { Terminal.writeOutput(JSONResponse.trimmed(response)) }
        return try ControlResponses.decode(CancelResponse.self, from: response)
    }

    /// - Returns: whether every push was cancelled.
    private func cancelIDs(_ api: GatewayAPI) async throws -> Bool {
        var cancelled = 0
        for body in ControlRequest.bodies(ids: try PushIDs.parse(ids)) {
            let response = try await post(body, to: api)
            cancelled += response.cancelled
            if !gateway.isJSON { for line in response.lines { Terminal.writeOutput(line) } }
        }
        if !gateway.isJSON, ids.count > 1 {
            Terminal.writeOutput("\n\(cancelled.grouped) of \(ids.count.grouped) cancelled")
        }
        return cancelled == ids.count
    }

    /// - Returns: whether there were pushes and all of them were cancelled.
    private func cancelSelection(_ api: GatewayAPI) async throws -> Bool {
        let (field, title, name) =
            if let request { ("request_id", "request", request) } else { ("app", "app", app ?? "") }
        let response = try await post(ControlRequest.body(field, name), to: api)
        if !gateway.isJSON { Terminal.writeOutput(response.summary(of: "\(title) \"\(name)\"")) }
        return response.tooLate == 0 && response.cancelled > 0
    }
}
