import APNSWire
import ArgumentParser

/// One push, for commands that show what the gateway returns for it.
struct PushArgument: ParsableArguments {
    @Argument(help: "Push ID (msg_id).")
    var id: String

    @OptionGroup var gateway: GatewayOptions

    func validate() throws { _ = try PushIDs.parse([id]) }

    /// Prints the JSON object that `fetch` returns: one line for each field, or unchanged with `--json`.
    func show(_ fetch: (GatewayAPI, APNSID) async throws -> [UInt8]) async throws {
        guard let id = try PushIDs.parse([id]).first else { return }
        let body = try await gateway.call { try await fetch($0, id) }
        try gateway.write(body) { TextTable.fields(of: $0) }
    }
}

/// Push IDs on the command line.
enum PushIDs {
    /// - Throws: `ValidationError` for the first text that is not a push ID.
    static func parse(_ texts: [String]) throws(ValidationError) -> [APNSID] {
        var ids: [APNSID] = []
        for text in texts {
            guard let id = APNSID(text) else { throw ValidationError("'\(text)' is not a push ID") }
            ids.append(id)
        }
        return ids
    }
}
