import APNSWire
import Synchronization

/// The table of devices, protected by a lock. Connections call it once per read, not once per push.
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

    /// Delivers accepted pushes to their devices, and records refusals of existing devices.
    func received(_ pushes: [ReceivedPush]) {
        guard !pushes.isEmpty, settings.countMax > 0 else { return }
        let now = clock()
        table.withLock { table in
            for push in pushes where !push.token.isEmpty {
                if push.isTaken {
                    table.update(push.token) { _ = $0.receive(DevicePush(push), now: now) }
                } else if !push.reason.isEmpty {
                    table.updateKnown(push.token) { $0.recordRefusal(reason: push.reason) }
                }
            }
        }
    }

    /// Delivers an accepted broadcast to every device that is subscribed to the channel or shows a Live Activity of it.
    ///
    /// - Parameters:
    ///   - channelID: Base64, as in `apns-channel-id`.
    ///   - expiration: UNIX seconds.
    ///   - keepsNewest: Whether the channel's storage policy is 1.
    /// - Returns: The number of devices, including offline ones.
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

    // MARK: Changes

    /// - Returns: The changed device; nil if devices are disabled.
    func update(_ token: [UInt8], _ update: DeviceUpdate) -> Device? {
        let now = clock()
        return table.withLock { table in
            table.update(token) { device in
                if let name = update.name { device.name = name }
                if let channels = update.channels { device.channels = channels }
                if update.tokenState == .unregistered { device.uninstall() }
                if let isOnline = update.isOnline { device.setOnline(isOnline, now: now) }
                return device
            }
        }
    }

    /// Notifies listeners that the state of a token has changed.
    func tokenStateChanged(_ token: [UInt8]) { table.withLock { $0.updateKnown(token) { _ in } } }

    /// Deletes all devices.
    func reset() {
        table.withLock { $0 = DeviceTable(settings: settings, epoch: $0.cursor.epoch + 1) }
    }

    // MARK: Queries

    /// The current position, after removing expired items.
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

    /// - Parameter name: A device ID, or a prefix of a token of at least 4 digits.
    /// - Returns: The device with this ID, or all devices whose token has this prefix.
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

    /// The number of a device that exists or was removed; nil if `name` is not the ID of one.
    func number(ofID name: String) -> Int? {
        Device.number(ofID: name).flatMap { number in
            number > 0 && table.withLock { number <= $0.devicesEver } ? number : nil
        }
    }

    /// The shortest prefix of a token that identifies devices.
    static let prefixDigitsMin = 4

    func changes(since seen: DeviceTable.Cursor?, limit: Int) -> DeviceTable.Changes {
        table.withLock { $0.changes(since: seen, limit: limit) }
    }

    // MARK: Listeners

    /// The largest number of concurrent event streams.
    static let listenersMax = 128

    var isFull: Bool { listeners.load(ordering: .relaxed) >= Self.listenersMax }

    func listenerConnected() { listeners.add(1, ordering: .relaxed) }
    func listenerDisconnected() { listeners.subtract(1, ordering: .relaxed) }
}

extension DevicePush {
    init(_ push: ReceivedPush) {
        self.init(
            id: push.id, topic: push.topic, type: push.pushType, priority: push.priority, expiration: push.expiration,
            collapseID: push.collapseID, payload: push.payload
        )
    }
}
