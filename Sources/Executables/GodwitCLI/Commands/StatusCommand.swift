import APNSWire
import ArgumentParser
import PushModel

/// Shows the states of pushes.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the states of pushes.",
        discussion: """
            With --json, one push is printed as by GET /api/v1/messages, and several as one JSON object per line.

            Exit status: 0 if every push is known, 1 if one is not or the gateway cannot be reached.
            """
    )

    @Argument(help: "Push IDs (msg_id).")
    var ids: [String]

    @OptionGroup var gateway: GatewayOptions

    func validate() throws { _ = try PushIDs.parse(ids) }

    func run() async throws {
        let ids = try PushIDs.parse(ids)
        let isComplete = try await gateway.call { api in
            if ids.count > 1 { return try await showAll(ids, api) }
            guard let body = try await api.status(ids[0]) else {
                throw GatewayFailure(description: "\(ids[0]): the gateway has no push with this ID")
            }
            try gateway.write(body) { PushStatusText.text(of: $0) }
            return true
        }
        if !isComplete { throw ExitCode.failure }
    }

    /// - Returns: whether every push is known.
    private func showAll(_ ids: [APNSID], _ api: GatewayAPI) async throws -> Bool {
        var isComplete = true
        var isFirst = true
        for start in stride(from: 0, to: ids.count, by: GatewayAPI.idsPerRequestMax) {
            let page = Array(ids[start..<min(start + GatewayAPI.idsPerRequestMax, ids.count)])
            try await api.query(page) { line in
                if try ["unknown", "unavailable", "invalid"].contains(ResponseLine(line).state) { isComplete = false }
                if !gateway.isJSON, !isFirst { Terminal.writeOutput("") }
                isFirst = false
                try gateway.write(Array(line)) { PushStatusText.text(of: $0) }
            }
        }
        return isComplete
    }
}

/// The status of a push, for people.
package enum PushStatusText {
    /// One field per line: those of the gateway, and what the error code means.
    package static func text(of json: [UInt8]) -> String {
        TextTable.fields(of: json) { fields in
            guard let code = fields["code"].flatMap({ UInt16($0) }).flatMap(ErrorCode.init), code != .none else {
                return []
            }
            return [("meaning", code.entry.meaning), ("advice", code.entry.advice)]
        }
    }
}
