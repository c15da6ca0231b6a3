import Foundation

/// Responses to control requests, and their text form.
package enum ControlResponses {
    /// - Throws: `GatewayFailure` if the body is not JSON of this type.
    package static func decode<Response: Decodable>(_ type: Response.Type, from body: [UInt8]) throws -> Response {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            return try decoder.decode(type, from: Data(body))
        } catch {
            throw GatewayFailure(description: "unexpected response: not the JSON of a gateway")
        }
    }

    /// Formats `2026-11-23T12:00:00.123Z` as `2026-11-23 12:00:00 UTC`.
    static func time(_ text: String) -> String {
        let parts = text.split(separator: "T", maxSplits: 1)
        guard parts.count == 2 else { return text }
        return "\(parts[0]) \(parts[1].prefix(8)) UTC"
    }
}

package struct CancelResponse: Decodable {
    package struct Item: Decodable {
        package var msgId: String
        package var result: String
        package var state: String?
    }

    /// In the order of the requested IDs; nil if the pushes were selected by request or app.
    package var results: [Item]?
    package var cancelled: Int
    package var tooLate: Int

    /// One line for each requested ID.
    package var lines: [String] {
        (results ?? []).map { item in
            switch item.result {
            case "cancelled": "\(item.msgId)  cancelled"
            case "too_late": "\(item.msgId)  too late: it is being sent"
            case "settled": "\(item.msgId)  too late: \(item.state ?? "settled")"
            case "unknown": "\(item.msgId)  no push with this ID"
            default: "\(item.msgId)  \(item.result)"
            }
        }
    }

    /// One line with the counts.
    ///
    /// - Parameter selection: the selected pushes, such as `request "campaign-7"`.
    package func summary(of selection: String) -> String {
        guard cancelled + tooLate > 0 else { return "no waiting pushes of \(selection)" }
        let pushes = cancelled == 1 ? "1 push" : "\(cancelled.grouped) pushes"
        return "\(pushes) cancelled" + (tooLate == 0 ? "" : "; \(tooLate.grouped) too late, being sent")
    }
}

package struct AppsResponse: Decodable {
    package struct App: Decodable {
        package var app: String
        /// nil for an app that is no longer configured.
        package var bundleId: String?
        package var queued: [String: Int]
        package var pausedSince: String?
        package var delayed: String?
        package var estimate: Int?
        package var detail: String?
        /// nil for an app with one environment; otherwise that of pushes that name none comes first.
        package var environments: [Environment]?

        var state: String { state(delayed: delayed, estimate: estimate, detail: detail) }

        func state(delayed: String?, estimate: Int?, detail: String?) -> String {
            guard bundleId != nil else { return "not configured: pushes are not sent" }
            if let pausedSince { return "paused since \(ControlResponses.time(pausedSince))" }
            guard let delayed else { return "ready" }
            let reason = delayed.replacing("_", with: " ").replacing("apns", with: "APNs")
            let isEndUnknown = ["apns_unreachable", "credential_refused"].contains(delayed)
            let unknown = isEndUnknown ? ", for an unknown time" : ""
            let estimate = estimate.map { ", about \(Duration.seconds($0).short)" } ?? unknown
            return "delayed: \(reason)\(estimate)" + (detail.map { ": \($0)" } ?? "")
        }
    }

    package struct Environment: Decodable {
        package var environment: String
        package var delayed: String?
        package var estimate: Int?
        package var detail: String?
    }

    package var apps: [App]

    /// A row for each app, and for each further environment of an app. The queues are those of all environments.
    package var text: String {
        let lanes = ["urgent", "normal", "bulk"]
        let hasEnvironments = apps.contains { $0.environments != nil }
        func environment(_ name: String?) -> [String] { hasEnvironments ? [name ?? "-"] : [] }
        var rows: [[String]] = []
        for app in apps {
            let environments = app.environments ?? []
            rows.append(
                [app.app, app.bundleId ?? "-"] + environment(environments.first?.environment)
                    + lanes.map { (app.queued[$0] ?? 0).grouped } + [app.state]
            )
            for other in environments.dropFirst() {
                let state = app.state(
                    delayed: other.delayed, estimate: other.estimate, detail: other.detail)
                rows.append(["", ""] + environment(other.environment) + lanes.map { _ in "" } + [state])
            }
        }
        let firstLane = hasEnvironments ? 3 : 2
        return TextTable.lines(
            header: ["app", "bundle ID"] + (hasEnvironments ? ["environment"] : []) + lanes + ["state"], rows: rows,
            rightAligned: Set(firstLane..<firstLane + lanes.count)
        ).joined(separator: "\n")
    }
}

package struct DeadLettersResponse: Decodable {
    package struct Letter: Decodable {
        package var msgId: String
        package var app: String
        package var lane: String
        package var code: Int
        package var error: String
        package var reason: String?
        package var attempts: Int
        package var diedAt: String
    }

    package var deadLetters: [Letter]
    /// Cursor of the next page; nil on the last page.
    package var next: String?

    package static func text(_ letters: [Letter]) -> String {
        TextTable.lines(
            header: ["msg_id", "app", "lane", "given up", "attempts", "error"],
            rows: letters.map { letter in
                [
                    letter.msgId, letter.app, letter.lane, ControlResponses.time(letter.diedAt),
                    letter.attempts.grouped,
                    "\(letter.code) \(letter.error)" + (letter.reason.map { ", \($0)" } ?? ""),
                ]
            },
            rightAligned: [4]
        ).joined(separator: "\n")
    }
}

package struct MessagesResponse: Decodable {
    package struct Message: Decodable {
        package var msgId: String
        package var app: String
        package var state: String
        package var code: Int
        package var error: String?
        package var reason: String?
        package var attempts: Int
        package var acceptedAt: String
        /// nil if the search was not for a token.
        package var tokenMatch: String?
    }

    package var messages: [Message]
    /// Cursor of the next page; nil on the last page.
    package var next: String?
    /// How far back the page reached; nil if it read nothing.
    package var searchedTo: String?

    /// - Parameter token: that was searched for; only its beginning is shown.
    package static func text(_ messages: [Message], token: String?) -> String {
        let table = TextTable.lines(
            header: ["accepted", "msg_id", "app", "state", "attempts"] + (token == nil ? [] : ["match"]) + ["error"],
            rows: messages.map { message in
                let error = message.error.map { name in
                    "\(message.code) \(name)" + (message.reason.map { ", \($0)" } ?? "")
                }
                return [
                    ControlResponses.time(message.acceptedAt), message.msgId, message.app, message.state,
                    message.attempts.grouped,
                ] + (token == nil ? [] : [message.tokenMatch ?? ""]) + [error ?? ""]
            },
            rightAligned: [4]
        )
        let pushes = messages.count == 1 ? "1 push" : "\(messages.count.grouped) pushes"
        return (table + ["", pushes + (token.map { " to the device \($0.prefix(min(8, $0.count / 2)))…" } ?? "")])
            .joined(separator: "\n")
    }
}
