import APNSWire
import Synchronization

/// The devices that pushes go to: the table under a lock. Connections come here once for all that arrived together.
final class Devices: Sendable {
    let settings: DeviceSettings
    private let clock: @Sendable () -> Int64
    private let table: Mutex<DeviceTable>
    private let listeners = Atomic(0)

    init(_ settings: DeviceSettings, clock: @escaping @Sendable () -> Int64) {
        self.settings = settings
        self.clock = clock
        table = Mutex(DeviceTable(settings: settings, epoch: .random(in: 1...UInt64(UInt32.max))))
    }

    // MARK: Pushes

    /// Requests have been answered: what was taken goes to its device, and a known device hears of refusals.
    func received(_ pushes: [ReceivedPush]) {
        guard !pushes.isEmpty, settings.countMax > 0 else { return }
        let now = clock()
        table.withLock { table in
            for push in pushes where !push.token.isEmpty {
                if push.isTaken {
                    table.update(push.token) { _ = $0.taken(DevicePush(push), now: now) }
                } else if !push.reason.isEmpty {
                    table.updateKnown(push.token) { $0.refused(reason: push.reason) }
                }
            }
        }
    }

    /// A broadcast was taken: it goes to every device that is subscribed to the channel or has a Live Activity on it.
    ///
    /// - Parameters:
    ///   - channelID: base64, as in `apns-channel-id`.
    ///   - keepsNewest: the channel's storage policy is 1.
    ///   - expiration: UNIX seconds.
    /// - Returns: how many devices it was for, offline ones included.
    @discardableResult
    func broadcast(
        channelID: String, bundleID: String, id: APNSID, payload: [UInt8], priority: Priority?, expiration: Int64?,
        keepsNewest: Bool
    ) -> Int {
        let push = DevicePush(
            id: id, topic: bundleID + PushType.liveactivity.topicSuffix, type: .liveactivity, priority: priority,
            expiration: expiration, payload: payload, channel: .init(id: channelID, keepsNewest: keepsNewest)
        )
        let now = clock()
        return table.withLock { $0.broadcast(push, now: now) }
    }

    // MARK: Switches

    /// - Returns: the device as it is then; nil when no devices are remembered.
    func update(_ token: [UInt8], _ update: DeviceUpdate) -> Device? {
        let now = clock()
        return table.withLock { table in
            table.update(token) { device in
                if let name = update.name { device.name = name }
                if let channels = update.channels { device.channels = channels }
                if update.tokenState == .unregistered { device.uninstalled() }
                if let isOnline = update.isOnline { device.setOnline(isOnline, now: now) }
                return device
            }
        }
    }

    /// What is known of a token besides its pushes has changed: listeners look again.
    func touched(_ token: [UInt8]) { table.withLock { $0.updateKnown(token) { _ in } } }

    /// Forgets all devices.
    func reset() {
        table.withLock { $0 = DeviceTable(settings: settings, epoch: $0.cursor.epoch + 1) }
    }

    // MARK: Looking

    /// The version now, after what goes by itself has gone.
    func cursor() -> DeviceTable.Cursor {
        let now = clock()
        return table.withLock { table in
            table.advance(to: now)
            return table.cursor
        }
    }

    /// The most recently used first.
    func all() -> [Device] {
        let now = clock()
        return table.withLock { table in
            table.advance(to: now)
            return table.devices()
        }
    }

    /// - Returns: what `name` can mean: the device with that id, or those whose token starts like it.
    func named(_ name: String) -> [Device] {
        let now = clock()
        return table.withLock { table in
            table.advance(to: now)
            if let number = Device.number(ofID: name) { return table.device(number: number).map { [$0] } ?? [] }
            guard name.count >= Self.prefixDigitsMin, name.allSatisfy(\.isHexDigit) else { return [] }
            let prefix = name.lowercased()
            return table.devices { (DeviceToken(bytes: $0.token)?.hex ?? "").hasPrefix(prefix) }
        }
    }

    /// Digits of a token that a device can be called by.
    static let prefixDigitsMin = 4

    func changes(since seen: DeviceTable.Cursor?, limit: Int) -> DeviceTable.Changes {
        table.withLock { $0.changes(since: seen, limit: limit) }
    }

    // MARK: Listeners

    /// Streams of events at once; each costs a little time every now and then, and no memory to speak of.
    static let listenersMax = 128

    var isFull: Bool { listeners.load(ordering: .relaxed) >= Self.listenersMax }

    func listenerCame() { listeners.add(1, ordering: .relaxed) }
    func listenerWent() { listeners.subtract(1, ordering: .relaxed) }
}

extension DevicePush {
    init(_ push: ReceivedPush) {
        self.init(
            id: push.id, topic: push.topic, type: push.pushType, priority: push.priority, expiration: push.expiration,
            collapseID: push.collapseID, payload: push.payload
        )
    }
}
