import APNSWire
import JSONText

extension SimulatorCounters {
    /// One object. Statuses and reasons are sorted, so that equal counters have equal text.
    func json() -> [UInt8] {
        var bytes: [UInt8] = []
        let plain: [(String, Int)] = [
            ("connections_accepted", connectionsAccepted), ("connections_open", connectionsOpen),
            ("tls_failures", tlsFailures), ("protocol_errors", protocolErrors), ("requests", requests),
            ("taken", taken), ("unanswered", unanswered), ("cancelled", cancelled),
            ("connections_refused", connectionsRefused), ("goaways_sent", goAwaysSent),
            ("streams_refused", streamsRefused), ("streams_reset", streamsReset),
            ("stream_limit_changes", streamLimitChanges), ("channel_requests", channelRequests),
            ("broadcasts_taken", broadcastsTaken),
        ]
        JSONWriter.append("{", to: &bytes)
        for (name, count) in plain {
            Self.append(name, count, to: &bytes)
            JSONWriter.append(",", to: &bytes)
        }
        Self.append("faults_by_kind", faultsByKind.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, to: &bytes)
        JSONWriter.append(",", to: &bytes)
        let statuses = answersByStatus.sorted { $0.key < $1.key }.map { ("\($0.key)", $0.value) }
        Self.append("answers_by_status", statuses, to: &bytes)
        JSONWriter.append(",", to: &bytes)
        Self.append(
            "answers_by_reason", answersByReason.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, to: &bytes)
        JSONWriter.append("}\n", to: &bytes)
        return bytes
    }

    private static func append(_ name: String, _ count: Int, to bytes: inout [UInt8]) {
        JSONWriter.appendString(name, to: &bytes)
        JSONWriter.append(":", to: &bytes)
        JSONWriter.appendInteger(count, to: &bytes)
    }

    private static func append(_ name: String, _ members: [(String, Int)], to bytes: inout [UInt8]) {
        JSONWriter.appendString(name, to: &bytes)
        JSONWriter.append(":{", to: &bytes)
        for (index, member) in members.enumerated() {
            if index > 0 { JSONWriter.append(",", to: &bytes) }
            append(member.0, member.1, to: &bytes)
        }
        JSONWriter.append("}", to: &bytes)
    }
}

extension ReceivedPush {
    /// One object. The payload is a string, because it need not be JSON. The token is shortened unless `showsToken` is
    /// set.
    func appendJSON(to bytes: inout [UInt8], showsToken: Bool) {
        let hex = DeviceToken(bytes: token)?.hex ?? ""
        let shownToken = showsToken || hex.count <= 8 ? hex : "\(hex.prefix(8))…"
        JSONWriter.append("{\"sequence\":", to: &bytes)
        JSONWriter.appendInteger(sequence, to: &bytes)
        append("apns_id", id.description, to: &bytes)
        append("token", shownToken, to: &bytes)
        append("topic", topic, to: &bytes)
        append("push_type", pushType?.description, to: &bytes)
        append("priority", (priority?.rawValue).map { Int64($0) }, to: &bytes)
        append("expiration", expiration, to: &bytes)
        append("collapse_id", collapseID.isEmpty ? nil : collapseID, to: &bytes)
        append("channel_id", channelID.isEmpty ? nil : channelID, to: &bytes)
        append("payload", String(decoding: payload, as: UTF8.self), to: &bytes)
        append("connection", Int64(connection), to: &bytes)
        append("stream", Int64(stream), to: &bytes)
        append("status", Int64(status), to: &bytes)
        append("reason", reason.isEmpty ? nil : reason, to: &bytes)
        JSONWriter.append(isTaken ? ",\"taken\":true" : ",\"taken\":false", to: &bytes)
        append("received_at", receivedAt, to: &bytes)
        JSONWriter.append("}", to: &bytes)
    }

    private func append(_ name: StaticString, _ value: String?, to bytes: inout [UInt8]) {
        appendName(name, to: &bytes)
        if let value { JSONWriter.appendString(value, to: &bytes) } else { JSONWriter.append("null", to: &bytes) }
    }

    private func append(_ name: StaticString, _ value: Int64?, to bytes: inout [UInt8]) {
        appendName(name, to: &bytes)
        if let value { JSONWriter.appendInteger(value, to: &bytes) } else { JSONWriter.append("null", to: &bytes) }
    }

    private func appendName(_ name: StaticString, to bytes: inout [UInt8]) {
        JSONWriter.append(",\"", to: &bytes)
        JSONWriter.append(name, to: &bytes)
        JSONWriter.append("\":", to: &bytes)
    }
}
