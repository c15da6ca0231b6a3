import APNSWire
import ArgumentParser
import JSONText
import PushModel

/// Flags that describe one push.
struct PushFlags: ParsableArguments {
    @Option(help: "Device token, hexadecimal.")
    var token: String?

    @Option(help: "Text of an alert, instead of --payload.")
    var alert: String?

    @Option(help: "Payload as JSON.")
    var payload: String?

    @Option(help: "Name of the app in the gateway's configuration; required if there are several.")
    var app: String?

    @Option(help: "APNs environment: production or sandbox. Default: the app's.")
    var environment: String?

    @Option(help: "Push type, such as alert, background or voip. Default: alert.")
    var pushType: String?

    @Option(help: "Priority: 10 immediate, 5 power-saving, 1 lowest.")
    var priority: Int?

    @Option(help: "UNIX time in seconds until which APNs may deliver the push; 0: one attempt.")
    var expiration: Int?

    @Option(help: "Notifications with the same ID replace each other on the device.")
    var collapseID: String?

    @Option(help: "Topic, if it is not the app's bundle ID.")
    var topic: String?

    @Option(help: "UNIX time in seconds before which the push is not sent.")
    var notBefore: Int?

    @Option(help: "Lane: urgent, normal or bulk. Default: normal.")
    var lane: String?

    @Option(help: "If APNs does not answer: resend (may deliver twice) or drop (may not deliver). Default: resend.")
    var onUnanswered: String?

    var isEmpty: Bool {
        [token, alert, payload, app, environment, pushType, collapseID, topic, lane, onUnanswered].allSatisfy {
            $0 == nil
        }
            && [priority, expiration, notBefore].allSatisfy { $0 == nil }
    }

    /// Why the flags do not describe a push; nil if they do. The gateway validates their values.
    var problem: String? {
        guard token != nil else { return "--token is missing; give --token, or a file of pushes with --file" }
        guard (alert == nil) != (payload == nil) else { return "give either --alert or --payload" }
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

    /// The push as a line of NDJSON.
    var line: [UInt8] {
        var output: [UInt8] = Array("{\"payload\":".utf8)
        if let alert {
            output += "{\"aps\":{\"alert\":".utf8
            JSONWriter.appendString(alert, to: &output)
            output += "}}".utf8
        } else {
            // Line ends in valid JSON are only white space; NDJSON does not allow them within an object.
            output += (payload ?? "{}").utf8.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 }
        }
        for (name, value) in [
            ("device_token", token), ("app", app), ("environment", environment), ("push_type", pushType),
            ("collapse_id", collapseID), ("topic", topic), ("lane", lane ?? "normal"), ("on_unanswered", onUnanswered),
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
