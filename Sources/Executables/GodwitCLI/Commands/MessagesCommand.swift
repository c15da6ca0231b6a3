package import ArgumentParser
package import Foundation
import PushAccept
import PushModel

/// Searches for pushes.
struct MessagesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "messages",
        abstract: "Search for pushes by device token, app, state, error code, time or request.",
        discussion: """
            Lists the pushes that meet all conditions, the newest first. The tokens of settled pushes are deleted: they \
            are found by a hash ("match: hash"), and one of 4.3 billion such pushes is to another device.

              godwit messages --token a1b2c3d4e5f60718 --since 24h
              godwit messages --app com.example.app --state rejected --state given_up
              godwit messages --code 3002 --since 2026-11-23T12:00:00Z

            With --json, each page is one JSON object.

            Exit status: 0, 1 if the gateway cannot be reached, or 2 if the command line is wrong.
            """
    )

    @Option(help: "Whole device token, in hexadecimal digits.")
    var token: String?

    @Option(help: "Only pushes of this app.")
    var app: String?

    @Option(
        help: ArgumentHelp(
            "Only pushes in this state: \(PushStatus.State.all.map(\.label).joined(separator: ", ")). Can be repeated.")
    )
    var state: [String] = []

    @Option(help: "Only pushes with this error code, by number or name. Can be repeated.")
    var code: [String] = []

    @Option(help: "Only pushes accepted since then: a duration such as 90s, 15m, 24h or 7d, or an RFC 3339 time.")
    var since = "24h"

    @Option(help: "Only pushes of the bulk request with this X-Request-Id.")
    var requestID: String?

    @Option(help: "Maximum number to list.")
    var limit = 100

    @OptionGroup var gateway: GatewayOptions

    func validate() throws {
        guard limit >= 1 else { throw ValidationError("--limit must be at least 1") }
        if let token, !token.allSatisfy(\.isHexDigit) || token.isEmpty || !token.count.isMultiple(of: 2) {
            throw ValidationError(
                "--token must be a whole device token in hexadecimal digits; its beginning is not enough")
        }
        for state in state { try Self.checkState(state) }
        for code in code where !ErrorCode.allCases.contains(where: { $0.matches(code) }) {
            throw ValidationError(
                "--code '\(code)' is not the number or name of an error code; GET /api/v1/codes lists them")
        }
        _ = try SinceTime.text(since, now: Date())
    }

    private static func checkState(_ state: String) throws(ValidationError) {
        let states = PushStatus.State.all.map(\.label)
        guard !states.contains(state) else { return }
        throw ValidationError("--state '\(state)' is not a state; use one of \(states.joined(separator: ", "))")
    }

    /// The digits of the tokens that APNs issues; a longer one is possible.
    private static let usualTokenDigits = 64

    /// How long a search runs without a note about its progress.
    private static let noteInterval: Duration = .seconds(5)

    func run() async throws {
        var search = MessageSearchBody(
            token: token, app: app, state: state, code: code, since: try SinceTime.text(since, now: Date()),
            requestId: requestID
        )
        var messages: [MessagesResponse.Message] = []
        var lastNote = ContinuousClock.now
        try await gateway.call(app: app) { api in
            repeat {
                search.limit = min(1000, limit - messages.count)
                let body = try await api.post("/api/v1/messages/search", try search.json())
                if gateway.isJSON { Terminal.writeOutput(JSONResponse.trimmed(body)) }
                let page = try ControlResponses.decode(MessagesResponse.self, from: body)
                messages += page.messages
                search.after = page.next
                if let time = page.searchedTo, search.after != nil, lastNote.duration(to: .now) > Self.noteInterval {
                    lastNote = .now
                    Terminal.writeError("searched back to \(ControlResponses.time(time)), \(messages.count) found")
                }
            } while search.after != nil && messages.count < limit
        }
        if gateway.isJSON { return }
        let start = ControlResponses.time(search.since)
        guard !messages.isEmpty else {
            if requestID != nil {
                Terminal.writeError("--request-id finds pushes of bulk requests; others have no request ID")
            }
            Terminal.writeOutput("no such pushes since \(start)")
            if let token, token.count < Self.usualTokenDigits {
                Terminal.writeError(
                    "--token has \(token.count) digits; give the whole device token (usually \(Self.usualTokenDigits)), "
                        + "because its beginning finds nothing")
            }
            return
        }
        Terminal.writeOutput(MessagesResponse.text(messages, token: token))
        if search.after != nil { Terminal.writeError("there may be more: raise --limit") }
    }
}

/// The time that `--since` names.
package enum SinceTime {
    private static let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]

    /// As RFC 3339.
    ///
    /// - Parameter text: how long ago, or RFC 3339.
    package static func text(_ text: String, now: Date) throws(ValidationError) -> String {
        if let unit = text.last.flatMap({ units[$0] }), let count = UInt32(text.dropLast()) {
            return now.addingTimeInterval(-Double(count) * unit).formatted(.iso8601)
        }
        for hasFraction in [false, true] {
            let style = Date.ISO8601FormatStyle(includingFractionalSeconds: hasFraction)
            if (try? Date(text, strategy: style)) != nil { return text }
        }
        throw ValidationError(
            "--since '\(text)' is not a duration such as 24h, nor a time such as 2026-11-23T12:00:00Z"
        )
    }
}
