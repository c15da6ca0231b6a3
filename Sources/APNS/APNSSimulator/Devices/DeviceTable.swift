/// The most recently used devices, with a version that increases with each change.
///
/// A pure state machine. A listener polls for the changes since the version it has; nothing is queued for it. If the
/// removals since that version are no longer available, the listener must start over.
package struct DeviceTable: Sendable {
    /// A position in the history of a table.
    package struct Cursor: Equatable, Sendable {
        /// Different after each reset and in each process.
        package var epoch: UInt64
        package var version: UInt64

        package init(epoch: UInt64, version: UInt64) {
            self.epoch = epoch
            self.version = version
        }
    }

    /// The changes since a cursor.
    package struct Changes: Sendable {
        /// The listener must drop all devices.
        package var isResync = false
        /// Changed devices, in the order of their last change.
        package var devices: [Device] = []
        /// The numbers of removed devices.
        package var removed: [Int] = []
        /// Further changes follow after `cursor`.
        package var hasMore = false
        /// The listener's position after these changes.
        package var cursor: Cursor
    }

    package private(set) var cursor: Cursor
    private let settings: DeviceSettings
    private var slots: [Device] = []
    private var slotByToken: [[UInt8]: Int] = [:]
    private var slotByNumber: [Int: Int] = [:]
    private var recency = RecencyList()
    /// The number of the newest device, also if it was removed.
    package private(set) var devicesEver = 0
    /// Removed devices with the version of their removal.
    private var removed: [(version: UInt64, number: Int)] = []
    /// Removals before this version are no longer available.
    private var removalsAvailableSince: UInt64 = 0
    /// The earliest time at which a device changes by expiry, in UNIX milliseconds.
    private var nextDue = Int64.max

    package init(settings: DeviceSettings, epoch: UInt64) {
        self.settings = settings
        cursor = Cursor(epoch: epoch, version: 0)
    }

    // MARK: Changes

    /// Changes the device of `token`, and creates it if it does not exist.
    ///
    /// - Returns: nil if devices are disabled.
    @discardableResult
    package mutating func update<Value>(_ token: [UInt8], _ change: (inout Device) -> Value) -> Value? {
        guard settings.countMax > 0 else { return nil }
        if let slot = slotByToken[token] { return update(slot, change) }
        devicesEver += 1
        let device = Device(token: token, number: devicesEver, settings: settings)
        let slot: Int
        if slots.count < settings.countMax {
            slot = slots.count
            slots.append(device)
        } else {
            slot = recency.last
            drop(slots[slot])
            slots[slot] = device
        }
        slotByToken[token] = slot
        slotByNumber[device.number] = slot
        return update(slot, change)
    }

    /// Changes the device of `token` if it exists.
    @discardableResult
    package mutating func updateKnown<Value>(_ token: [UInt8], _ change: (inout Device) -> Value) -> Value? {
        slotByToken[token].map { update($0, change) }
    }

    /// Delivers a broadcast to every device that is subscribed to its channel or shows a Live Activity of it.
    ///
    /// - Parameter push: A push with a channel.
    /// - Returns: The number of devices.
    package mutating func broadcast(_ push: DevicePush, now: Int64) -> Int {
        guard let channelID = push.channel?.id else { preconditionFailure("a broadcast without a channel") }
        let matching = slots.indices.filter { slot in
            slots[slot].channels.contains(channelID)
                || slots[slot].activities.shown.contains { $0.channelID == channelID }
        }
        for slot in matching { update(slot) { _ = $0.receive(push, now: now) } }
        return matching.count
    }

    /// Removes expired pushes and ended activities from all devices.
    package mutating func advance(to now: Int64) {
        guard now >= nextDue else { return }
        nextDue = .max
        for slot in slots.indices {
            guard let due = slots[slot].nextDue else { continue }
            if due <= now { update(slot) { _ = $0.advance(to: now) } }
            nextDue = min(nextDue, slots[slot].nextDue ?? .max)
        }
    }

    @discardableResult
    private mutating func update<Value>(_ slot: Int, _ change: (inout Device) -> Value) -> Value {
        cursor.version += 1
        // Items created by this change get the device's version.
        slots[slot].version = cursor.version
        let value = change(&slots[slot])
        nextDue = min(nextDue, slots[slot].nextDue ?? .max)
        recency.use(slot)
        return value
    }

    private mutating func drop(_ device: Device) {
        slotByToken[device.token] = nil
        slotByNumber[device.number] = nil
        cursor.version += 1
        removed.append((cursor.version, device.number))
        // Keeps up to twice the number of devices, so that a removal takes amortized constant time.
        guard removed.count >= 2 * settings.countMax + 16 else { return }
        let count = removed.count / 2
        removalsAvailableSince = removed[count - 1].version
        removed.removeFirst(count)
    }

    // MARK: Queries

    package func device(number: Int) -> Device? { slotByNumber[number].map { slots[$0] } }

    /// The devices that satisfy `condition`, the most recently used first.
    package func devices(where condition: (Device) -> Bool = { _ in true }) -> [Device] {
        recency.order.map { slots[$0] }.filter(condition)
    }

    /// The changes since a listener's position.
    ///
    /// - Parameters:
    ///   - seen: The position; nil for a new listener.
    ///   - limit: The largest number of devices. Call again with the returned cursor for the rest.
    package func changes(since seen: Cursor?, limit: Int) -> Changes {
        var changes = Changes(cursor: cursor)
        var since: UInt64 = 0
        if let seen, seen.epoch == cursor.epoch, seen.version >= removalsAvailableSince, seen.version <= cursor.version
        {
            since = seen.version
        } else {
            changes.isResync = true
        }
        var changed: [Int] = []
        for slot in recency {
            guard slots[slot].version > since else { break }
            changed.append(slot)
        }
        changed.reverse()
        if changed.count > limit {
            changed.removeLast(changed.count - limit)
            changes.hasMore = true
            changes.cursor.version = changed.last.map { slots[$0].version } ?? cursor.version
        }
        changes.devices = changed.map { slots[$0] }
        if !changes.isResync {
            changes.removed = removed.filter { $0.version > since && $0.version <= changes.cursor.version }.map(
                \.number)
        }
        return changes
    }
}
