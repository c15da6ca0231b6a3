/// All devices, the most recently used ones, with a version that grows by every change.
///
/// Pure. A listener that knows the version it has seen gets what has changed since, however much happened meanwhile:
/// nothing is queued for it. What it cannot be told any more makes it start anew.
package struct DeviceTable: Sendable {
    /// A place in the history of one table.
    package struct Cursor: Equatable, Sendable {
        /// Changes with every reset, and from one process to the next.
        package var epoch: UInt64
        package var version: UInt64

        package init(epoch: UInt64, version: UInt64) {
            self.epoch = epoch
            self.version = version
        }
    }

    /// What a listener has missed.
    package struct Changes: Sendable {
        /// It must forget all that it knows.
        package var isResync = false
        /// In the order of their last change.
        package var devices: [Device] = []
        /// Numbers of devices that are gone.
        package var gone: [Int] = []
        /// Where it stands when it has taken these.
        package var cursor: Cursor
    }

    package private(set) var cursor: Cursor
    private let settings: DeviceSettings
    private var slots: [Device] = []
    private var slotByToken: [[UInt8]: Int] = [:]
    private var slotByNumber: [Int: Int] = [:]
    private var recency = Recency()
    private var devicesEver = 0
    /// Devices that were dropped, and when.
    private var gone: [(version: UInt64, number: Int)] = []
    /// No listener that stands before this version can be told who went.
    private var goneSince: UInt64 = 0
    /// Nothing goes by itself before this, in UNIX milliseconds.
    private var nextDue = Int64.max

    package init(settings: DeviceSettings, epoch: UInt64) {
        self.settings = settings
        cursor = Cursor(epoch: epoch, version: 0)
    }

    // MARK: Changing

    /// Changes the device of `token`, which is made if there is none.
    ///
    /// - Returns: nil when no devices are remembered.
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

    /// Changes the device of `token`, if there is one.
    @discardableResult
    package mutating func updateKnown<Value>(_ token: [UInt8], _ change: (inout Device) -> Value) -> Value? {
        slotByToken[token].map { update($0, change) }
    }

    /// A broadcast was taken: it is for every device that is subscribed to its channel or shows a Live Activity of it.
    ///
    /// - Parameter push: has a channel.
    /// - Returns: how many devices that was.
    package mutating func broadcast(_ push: DevicePush, now: Int64) -> Int {
        guard let channelID = push.channel?.id else { preconditionFailure("a broadcast without a channel") }
        let matching = slots.indices.filter { slot in
            slots[slot].channels.contains(channelID)
                || slots[slot].activities.shown.contains { $0.channelID == channelID }
        }
        for slot in matching { update(slot) { _ = $0.taken(push, now: now) } }
        return matching.count
    }

    /// Time has passed: what was stored expires, ended activities go.
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
        // Items that are made by this change take the device's version.
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
        gone.append((cursor.version, device.number))
        // Twice the number of devices is kept for a while, so that dropping costs a constant time.
        guard gone.count >= 2 * settings.countMax + 16 else { return }
        let count = gone.count / 2
        goneSince = gone[count - 1].version
        gone.removeFirst(count)
    }

    // MARK: Looking

    package func device(number: Int) -> Device? { slotByNumber[number].map { slots[$0] } }

    /// All devices whose token satisfies `condition`, the most recently used first.
    package func devices(where condition: (Device) -> Bool = { _ in true }) -> [Device] {
        recency.order.map { slots[$0] }.filter(condition)
    }

    /// - Parameters:
    ///   - seen: nil for a listener that knows nothing.
    ///   - limit: devices at most; ask again for the rest.
    package func changes(since seen: Cursor?, limit: Int) -> Changes {
        var changes = Changes(cursor: cursor)
        var since: UInt64 = 0
        if let seen, seen.epoch == cursor.epoch, seen.version >= goneSince, seen.version <= cursor.version {
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
            changes.cursor.version = changed.last.map { slots[$0].version } ?? cursor.version
        }
        changes.devices = changed.map { slots[$0] }
        if !changes.isResync {
            changes.gone = gone.filter { $0.version > since && $0.version <= changes.cursor.version }.map(\.number)
        }
        return changes
    }
}
