import APNSWire
import ArgumentParser
import JSONText
import PushModel

/// A push that is described by flags.
struct PushFlags: ParsableArguments {
    @Option(help: "Device token in hexadecimal digits.")
    var token: String?

    @Option(help: "Text of an alert; short for a payload that holds only that.")
    var alert: String?

    @Option(help: "The whole payload as JSON.")
    var payload: String?

    @Option(help: "App, by its name in the gateway's configuration; needed when there are several.")
    var app: String?

    @Option(help: "Push type: alert, background, voip and so on.")
    var pushType: String?

    @Option(help: "Priority: 10 at once, 5 with regard to the battery, 1 the battery first.")
    var priority: Int?

    @Option(help: "Until when APNs may deliver it, in seconds since 1970; 0: now or never.")
    var expiration: Int?

    @Option(help: "Notifications with the same id replace each other on the device.")
    var collapseID: String?

    @Option(help: "Topic, where it is not the app's bundle ID.")
    var topic: String?

    @Option(help: "Not to be sent before, in seconds since 1970.")
    var notBefore: Int?

    @Option(help: "Lane: urgent, normal or bulk.")
    var lane: String?

    @Option(help: "When APNs does not answer: resend, which may make it two, or drop, which may make it none.")
    var onUnanswered: String?

    var isEmpty: Bool {
        [token, alert, payload, app, pushType, collapseID, topic, lane, onUnanswered].allSatisfy { $0 == nil }
            && [priority, expiration, notBefore].allSatisfy { $0 == nil }
    }

    /// What is wrong with the flags, in one sentence; the gateway checks their values.
    var problem: String? {
        guard token != nil else { return "a push needs --token, or give a file of pushes with --file" }
        guard (alert == nil) != (payload == nil) else { return "a push needs either --alert or --payload" }
        guard let payload else { return nil }
        var copy = payload
        return copy.withUTF8 { utf8 in
            var reader = JSONReader(UnsafeRawBufferPointer(utf8))
            do {
                try reader.skipValue()
                try reader.finish()
                return nil
            } catch {
                return "--payload is not JSON: \(error)"
            }
        }
    }

    /// The push as one line of NDJSON.
    var line: [UInt8] {
        var output: [UInt8] = Array("{\"payload\":".utf8)
        if let alert {
            output += "{\"aps\":{\"alert\":".utf8
            JSONWriter.appendString(alert, to: &output)
            output += "}}".utf8
        } else {
            // A line must stay one: between the values of a JSON text a line end is only white space.
            output += (payload ?? "{}").utf8.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 }
        }
        for (name, value) in [
            ("device_token", token), ("app", app), ("push_type", pushType), ("collapse_id", collapseID),
            ("topic", topic), ("lane", lane ?? "normal"), ("on_unanswered", onUnanswered),
        ] {
            guard let value else { continue }
            output += ",\"\(name)\":".utf8
            JSONWriter.appendString(value, to: &output)
        }
        for (name, value) in [("priority", priority), ("expiration", expiration), ("not_before", notBefore)] {
            if let value { output += ",\"\(name)\":\(value)".utf8 }
        }
        output += "}\n".utf8
        return output
    }
}
