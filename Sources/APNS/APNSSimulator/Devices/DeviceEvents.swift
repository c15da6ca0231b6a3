import Hummingbird
import JSONText
import NIOCore
import ServiceLifecycle

/// A live stream of changes for one listener (Server-Sent Events, WHATWG HTML, section 9.2).
///
/// - `resync`: forget all devices; what follows tells them anew. It comes first, unless the listener names a place
///   from which it can catch up, and again when it was too slow to be told who went.
/// - `devices`: `{"devices": [summary …], "gone": [id …]}`.
/// - `screen`: what has changed on the watched device's screen.
/// - `counters`: the simulator's counters.
///
/// Every event has an id; a browser that reconnects sends the last one, and gets what it missed. Nothing is queued for
/// a listener: it is told the newest state, however slowly it reads.
struct DeviceEvents: Sendable {
    /// Several changes within it are one event.
    static let period: Duration = .milliseconds(50)
    /// Counters are told every so many periods, if they changed.
    private static let countersEvery = 8
    /// After so many periods without an event a comment shows whether the listener is still there.
    private static let commentEvery = 60
    /// Devices in one event: about 100 KB.
    private static let devicesMax = 200

    let state: SimulatorState
    /// Number of the device whose screen is wanted.
    let watched: Int?
    /// Where the listener stands.
    let seen: DeviceTable.Cursor?

    func response() -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                state.devices.listenerCame()
                defer { state.devices.listenerWent() }
                try await stream(to: &writer)
            }
        )
    }

    private func stream(to writer: inout any ResponseBodyWriter) async throws {
        var cursor = seen
        var screen: UInt64 = 0
        var counters: SimulatorCounters?
        var idlePeriods = 0
        var period = 0
        try await writer.write(ByteBuffer(string: "retry: 1000\n\n"))
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            var bytes: [UInt8] = []
            if state.devices.cursor() != cursor { cursor = tell(since: cursor, &screen, to: &bytes) }
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
            period += 1
            try await Task.sleep(for: Self.period)
        }
        try await writer.finish(nil)
    }

    /// - Parameter screen: the version at which the watched screen was told last.
    private func tell(
        since cursor: DeviceTable.Cursor?, _ screen: inout UInt64, to bytes: inout [UInt8]
    ) -> DeviceTable.Cursor {
        let changes = state.devices.changes(since: cursor, limit: Self.devicesMax)
        if changes.isResync {
            screen = 0
            append("resync", nil, to: &bytes) { JSONWriter.append("{}", to: &$0) }
        }
        append("devices", changes.cursor, to: &bytes) { bytes in
            JSONMembers.object(to: &bytes) { members in
                members.array("devices", changes.devices) { device, bytes in
                    device.appendSummary(to: &bytes, tokenState: .init(state.tokenState(of: device.token)))
                }
                members.array("gone", changes.gone) { JSONWriter.appendString(Device.idPrefix + "\($0)", to: &$1) }
            }
        }
        if let device = changes.devices.first(where: { $0.number == watched }) {
            append("screen", changes.cursor, to: &bytes) { device.appendScreen(to: &$0, since: screen) }
            screen = device.version
        }
        return changes.cursor
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
    /// An event's id.
    var text: String { "\(epoch)-\(version)" }

    init?(text: some StringProtocol) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let epoch = UInt64(parts[0]), let version = UInt64(parts[1]) else { return nil }
        self.init(epoch: epoch, version: version)
    }
}
