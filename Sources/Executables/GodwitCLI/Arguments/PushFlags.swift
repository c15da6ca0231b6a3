import APNSWire
import ArgumentParser
import Foundation
import JSONText

/// Flags that describe one push, to one or several devices.
struct PushFlags: ParsableArguments {
    @Option(
        name: .customLong("token"),
        help: ArgumentHelp("Device token, hexadecimal; repeat it to send to several devices.", valueName: "token"))
    var tokens: [String] = []

    @Option(help: "Text of an alert, instead of --payload.")
    var alert: String?

    @Option(help: "Title of the alert.")
    var title: String?

    @Option(help: "Subtitle of the alert.")
    var subtitle: String?

    @Option(help: "Sound: default, or a file in the app.")
    var sound: String?

    @Option(help: "Number on the app's icon; 0 removes it.")
    var badge: Int?

    @Option(help: "Whole payload as JSON; @FILE reads a file, - standard input.")
    var payload: String?

    @Option(help: "Name of the app in the gateway's configuration; required if there are several.")
    var app: String?

    @Option(help: "APNs environment: production or sandbox. Default: the app's.")
    var environment: String?

    @Option(help: "Push type, such as alert, background or voip. Default: alert.")
    var pushType: String?

    @Option(help: "Priority: 10 immediate, 5 power-saving, 1 lowest.")
    var priority: Int?

    @Option(
        help: """
            Until when APNs may deliver the push: 1h, 2026-12-01T12:00:00Z or UNIX seconds; 0: one attempt.
            """,
        transform: PushTime.init)
    var expiration: PushTime?

    @Option(help: "Notifications with the same ID replace each other on the device.")
    var collapseID: String?

    @Option(help: "Topic, if it is not the app's bundle ID.")
    var topic: String?

    @Option(
        help: "When the push is sent at the earliest: 1h, 2026-12-01T12:00:00Z or UNIX seconds.",
        transform: PushTime.init)
    var notBefore: PushTime?

    @Option(help: "Lane: urgent, normal or bulk. Default: normal.")
    var lane: String?

    @Option(help: "If APNs does not answer: resend (may deliver twice) or drop (may not deliver). Default: resend.")
    var onUnanswered: String?

    private var hasAlert: Bool { [alert, title, subtitle, sound].contains { $0 != nil } || badge != nil }

    var isEmpty: Bool {
        tokens.isEmpty && !hasAlert && expiration == nil && notBefore == nil && priority == nil
            && [payload, app, environment, pushType, collapseID, topic, lane, onUnanswered].allSatisfy { $0 == nil }
    }

    /// Whether another run of the same command describes another push.
    var hasRelativeTime: Bool { expiration?.isRelative == true || notBefore?.isRelative == true }

    /// - Throws: `ValidationError` if the flags do not describe a push. The gateway validates their values.
    func check() throws {
        guard !tokens.isEmpty else {
            throw ValidationError("--token is missing; give --token, or a file of pushes with --file")
        }
        guard hasAlert != (payload != nil) else {
            throw ValidationError("give either --payload, or --alert, --title, --subtitle, --sound and --badge")
        }
        if let badge, badge < 0 { throw ValidationError("--badge must be at least 0") }
        if let payload, PayloadArgument.isInline(payload) { _ = try PayloadArgument.read(payload) }
    }

    /// The pushes as lines of NDJSON, one for each token.
    ///
    /// - Throws: `ValidationError` or `CommandError` if the payload cannot be read or is not JSON.
    func lines() throws -> [UInt8] {
        let shared = try sharedFields()
        var output: [UInt8] = []
        for token in tokens {
            // First, so that the reader of the lines finds it immediately.
            output += "{\"device_token\":".utf8
            JSONWriter.appendString(token, to: &output)
            output += shared
        }
        return output
    }

    /// All of a line after the token.
    private func sharedFields() throws -> [UInt8] {
        var output: [UInt8] = Array(",\"payload\":".utf8)
        // Line ends in valid JSON are only white space; NDJSON does not allow them within an object.
        output += try (payload.map(PayloadArgument.read) ?? alertPayload()).map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 }
        for (name, value) in [
            ("app", app), ("environment", environment), ("push_type", pushType),
            ("collapse_id", collapseID), ("topic", topic), ("lane", lane ?? "normal"), ("on_unanswered", onUnanswered),
        ] {
            if let value { Self.append(name, value, to: &output) }
        }
        for (name, value) in [
            ("priority", priority.map(Int64.init)), ("expiration", expiration?.seconds()),
            ("not_before", notBefore?.seconds()),
        ] {
            if let value { output += ",\"\(name)\":\(value)".utf8 }
        }
        output += "}\n".utf8
        return output
    }

    private func alertPayload() -> [UInt8] {
        var aps: [UInt8] = []
        let texts = [("title", title), ("subtitle", subtitle), ("body", alert)]
        if title == nil, subtitle == nil {
            if let alert { Self.append("alert", alert, to: &aps) }
        } else {
            var fields: [UInt8] = []
            for (name, value) in texts { if let value { Self.append(name, value, to: &fields) } }
            aps += Array(",\"alert\":{".utf8) + fields.dropFirst() + Array("}".utf8)
        }
        if let sound { Self.append("sound", sound, to: &aps) }
        if let badge { aps += ",\"badge\":\(badge)".utf8 }
        return Array("{\"aps\":{".utf8) + aps.dropFirst() + Array("}}".utf8)
    }

    /// Appends `,"name":"value"`.
    private static func append(_ name: String, _ value: String, to output: inout [UInt8]) {
        output += ",\"\(name)\":".utf8
        JSONWriter.appendString(value, to: &output)
    }
}
