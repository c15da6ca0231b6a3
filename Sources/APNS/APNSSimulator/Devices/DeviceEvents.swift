#if SimulatorControl
import Hummingbird
import JSONText
import NIOCore
import ServiceLifecycle

/// A stream of changes for one listener (Server-Sent Events, WHATWG HTML, section 9.2).
///
/// - `resync`: the listener must drop all devices; the full state follows. Sent first, unless the listener provides an
///   event ID from which it can catch up, and again if it was too slow to receive all removals.
/// - `devices`: `{"devices": [summary …], "gone": [id …]}`; `gone` lists removed devices. `"more": true` is added if
///   further changes follow in the next event.
/// - `screen`: the changes on the screen of the selected device.
/// - `counters`: the simulator's counters.
/// - `refused`: `{"total": count, "pushes": [push …]}`: refused pushes since the last such event, as far as they are kept;
///   `"all": true` is added if they replace those of earlier events.
///
/// A browser that reconnects sends the last event ID and receives the changes since then. Nothing is queued for a
/// listener: each event contains the newest state, however slowly the listener reads.
struct DeviceEvents: Sendable {
    /// Changes within one period are combined into one event.
    static let period: Duration = .milliseconds(50)
    /// The number of periods between two `counters` or `refused` events. They are sent only after a change.
    private static let countersEvery = 8
    /// The number of periods without an event before a comment, which detects a closed connection.
    private static let commentEvery = 60
    /// The largest number of devices in one event: about 100 KB.
    private static let devicesMax = 200

    let state: SimulatorState
    /// The number of the device whose screen is sent.
    let screenDevice: Int?
    /// The position of a listener that reconnects; nil for a new one.
    let seen: DeviceTable.Cursor?

    func response() -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                state.devices.listenerConnected()
                defer { state.devices.listenerDisconnected() }
                try await stream(to: &writer)
            }
        )
    }

    private func stream(to writer: inout any ResponseBodyWriter) async throws {
        var cursor = seen
        var screen: UInt64 = 0
        var counters: SimulatorCounters?
        var refused: (epoch: UInt64, total: UInt64)?
        var isCatchingUp = true
        var idlePeriods = 0
        var period = 0
        try await writer.write(ByteBuffer(string: "retry: 1000\n\n"))
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            var bytes: [UInt8] = []
            var hasMore = false
            if state.devices.cursor() != cursor {
                (cursor, hasMore) = appendChanges(since: cursor, &screen, to: &bytes)
            }
            if period.isMultiple(of: Self.countersEvery) { appendRefused(cursor, since: &refused, to: &bytes) }
            if period.isMultiple(of: Self.countersEvery), state.counters != counters {
                counters = state.counters
                append("counters", cursor, to: &bytes) { $0 += state.counters.json().dropLast() }
            }
            idlePeriods = bytes.isEmpty ? idlePeriods + 1 : 0
            if idlePeriods == Self.commentEvery {
                idlePeriods = 0
                JSONWriter.append(": still here\n\n", to: &bytes)
            }
            if !bytes.isEmpty { try await writer.write(ByteBuffer(bytes: bytes)) }
            // A new listener learns of all devices immediately: the newest come last, and it opens the newest.
            isCatchingUp = isCatchingUp && hasMore
            if isCatchingUp { continue }
            period += 1
            try await Task.sleep(for: Self.period)
        }
        try await writer.finish(nil)
    }

    /// Appends the events for all changes since `cursor`.
    ///
    /// - Parameter screen: The version of the last `screen` event.
    /// - Returns: The listener's new position, and whether further changes follow.
    private func appendChanges(
        since cursor: DeviceTable.Cursor?, _ screen: inout UInt64, to bytes: inout [UInt8]
    ) -> (DeviceTable.Cursor, hasMore: Bool) {
        let changes = state.devices.changes(since: cursor, limit: Self.devicesMax)
        if changes.isResync {
            screen = 0
            append("resync", nil, to: &bytes) { JSONWriter.append("{}", to: &$0) }
        }
        append("devices", changes.cursor, to: &bytes) { bytes in
            JSONObjectWriter.object(to: &bytes) { members in
                members.array("devices", changes.devices) { device, bytes in
                    device.appendSummary(to: &bytes, tokenState: .init(state.tokenState(of: device.token)))
                }
                members.array("gone", changes.removed) { JSONWriter.appendString(Device.idPrefix + "\($0)", to: &$1) }
                if changes.hasMore { members.boolean("more", true) }
            }
        }
        if let device = changes.devices.first(where: { $0.number == screenDevice }) {
            append("screen", changes.cursor, to: &bytes) { device.appendScreen(to: &$0, since: screen) }
            screen = device.version
        }
        return (changes.cursor, changes.hasMore)
    }

    /// Appends the refused pushes since `seen`; nothing if there are none.
    ///
    /// - Parameter seen: The epoch and the number of refused pushes of the last such event.
    private func appendRefused(
        _ cursor: DeviceTable.Cursor?, since seen: inout (epoch: UInt64, total: UInt64)?, to bytes: inout [UInt8]
    ) {
        let epoch = state.devices.cursor().epoch
        var (pushes, total) = state.refused(after: seen?.total ?? 0)
        let isReset = seen.map { $0.epoch != epoch || $0.total > total } ?? true
        if isReset { (pushes, total) = state.refused(after: 0) }
        guard isReset || total != seen?.total else { return }
        seen = (epoch, total)
        append("refused", cursor, to: &bytes) { bytes in
            JSONObjectWriter.object(to: &bytes) { members in
                members.integer("total", total)
                members.array("pushes", pushes) { $0.appendJSON(to: &$1, showsToken: false) }
                if isReset { members.boolean("all", true) }
            }
        }
    }

    private func append(
        _ event: String, _ cursor: DeviceTable.Cursor?, to bytes: inout [UInt8], _ data: (inout [UInt8]) -> Void
    ) {
        bytes += "event: \(event)\n".utf8
        if let cursor { bytes += "id: \(cursor.text)\n".utf8 }
        JSONWriter.append("data: ", to: &bytes)
        data(&bytes)
        JSONWriter.append("\n\n", to: &bytes)
    }
}

extension DeviceTable.Cursor {
    /// The ID of an event.
    var text: String { "\(epoch)-\(version)" }

    init?(text: some StringProtocol) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let epoch = UInt64(parts[0]), let version = UInt64(parts[1]) else { return nil }
        self.init(epoch: epoch, version: version)
    }
}
#endif
