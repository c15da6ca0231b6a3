import APNSWire

/// A simulated device: the contents of its lock screen, and the pushes that APNs stores while it is offline.
///
/// A pure state machine: time is a parameter. One token identifies one device. At Apple a token belongs to one app;
/// here a client may push several topics to it, which are treated as several apps on one device.
package struct Device: Sendable {
    /// The largest number of entries in the silent log.
    package static let logMax = 30
    /// The largest number of apps with a badge.
    package static let appsMax = 16
    package static let channelsMax = 32

    package let token: [UInt8]
    /// The device's number, from 1.
    package let number: Int
    package var name: String
    package private(set) var isOnline = true
    /// IDs of subscribed channels.
    package var channels: Set<String> = []
    /// Badges above zero by bundle ID.
    package private(set) var badges: [String: Int] = [:]
    /// The bundle ID of the last accepted push.
    package private(set) var bundleID = ""
    /// Oldest first.
    package private(set) var notifications: [ShownNotification] = []
    package private(set) var activities = LiveActivities()
    /// Oldest first.
    package private(set) var log: [LogEntry] = []
    package private(set) var stored = StoredPushes()
    package internal(set) var counters = DeviceCounters()
    /// The table's version at the device's last change.
    package var version: UInt64 = 0
    /// The reason of the last refusal; empty if the last push was accepted.
    package private(set) var lastReason = ""

    private let settings: DeviceSettings
    private var items = 0

    package init(token: [UInt8], number: Int, settings: DeviceSettings = DeviceSettings()) {
        self.token = token
        self.number = number
        self.settings = settings
        name = "Phone \(number)"
    }

    /// When the next stored push or Live Activity expires, in UNIX milliseconds; nil for never.
    package var nextDue: Int64? { [stored.nextDue, activities.nextDue].compactMap { $0 }.min() }

    // MARK: Pushes

    /// Delivers or stores a push that APNs has accepted.
    ///
    /// - Parameter now: UNIX milliseconds.
    @discardableResult
    package mutating func receive(_ push: DevicePush, now: Int64) -> DevicePushResult {
        counters.received += 1
        bundleID = push.bundleID
        lastReason = ""
        if isOnline { return deliver(push, now: now) }
        expireStored(now: now)
        switch stored.store(push, keepsSeveral: settings.keepsSeveral, now: now) {
        case .stored:
            counters.stored += 1
            return .stored
        case .storedReplacingOlder:
            counters.stored += 1
            counters.overwritten += 1
            return .storedReplacingOlder
        case .discarded:
            counters.expired += 1
            return .discarded
        }
    }

    /// Records that APNs has refused a push to the device.
    package mutating func recordRefusal(reason: String) {
        counters.refused += 1
        lastReason = reason
    }

    // MARK: Changes

    /// Changes the network state. Going online delivers the stored pushes.
    package mutating func setOnline(_ isOnline: Bool, now: Int64) {
        self.isOnline = isOnline
        guard isOnline else { return }
        expireStored(now: now)
        for push in stored.takeAll() { deliver(push, now: now) }
    }

    /// Uninstalls all apps: removes notifications, activities, badges and stored pushes.
    package mutating func uninstall() {
        notifications.removeAll()
        activities.removeAll()
        badges.removeAll()
        stored.removeAll()
    }

    /// Removes expired pushes and ended activities.
    ///
    /// - Returns: Whether anything has changed.
    package mutating func advance(to now: Int64) -> Bool {
        let expired = expireStored(now: now)
        return activities.dismiss(now: now) + expired > 0
    }

    // MARK: Delivery

    @discardableResult
    private mutating func deliver(_ push: DevicePush, now: Int64) -> DevicePushResult {
        counters.delivered += 1
        let result = present(push, now: now)
        switch result {
        case .shown: counters.shown += 1
        case .replaced:
            counters.shown += 1
            counters.replaced += 1
        case .silent: counters.silent += 1
        case .ignored: counters.ignored += 1
        case .activityStarted, .activityUpdated, .activityEnded: counters.activityPushes += 1
        case .stored, .storedReplacingOlder, .discarded:
            preconditionFailure("a delivered push cannot be stored or discarded")
        }
        switch result {
        case .silent, .ignored:
            if log.count == Self.logMax { log.removeFirst() }
            log.append(LogEntry(number: nextItem(), version: version, push: push, at: now, result: result))
        default: break
        }
        return result
    }

    private mutating func present(_ push: DevicePush, now: Int64) -> DevicePushResult {
        guard let contents = PushPayload(push.payload) else { return .ignored(.notJSON) }
        if push.type == .liveactivity {
            return activities.apply(contents, of: push, number: nextItem(), version: version, now: now)
        }
        // Only an alert may be shown to the user. The other types wake an app, a widget or an extension.
        guard push.type == .alert || push.type == nil else { return .silent }
        if let badge = contents.badge { setBadge(badge) }
        guard contents.hasAlert else { return .silent }
        return show(push, contents, now: now)
    }

    private mutating func show(_ push: DevicePush, _ contents: PushPayload, now: Int64) -> DevicePushResult {
        let replaced = notifications.firstIndex {
            !push.collapseID.isEmpty && $0.push.collapseID == push.collapseID && $0.push.bundleID == push.bundleID
        }
        if let replaced {
            var notification = notifications.remove(at: replaced)
            notification.version = version
            notification.push = push
            notification.contents = contents
            notification.shownAt = now
            notification.replacements += 1
            notifications.append(notification)
            return .replaced
        }
        if notifications.count >= settings.notificationsMax { notifications.removeFirst() }
        notifications.append(
            ShownNotification(number: nextItem(), version: version, push: push, contents: contents, shownAt: now))
        return .shown
    }

    private mutating func setBadge(_ badge: Int) {
        if badge <= 0 {
            badges[bundleID] = nil
        } else if badges[bundleID] != nil || badges.count < Self.appsMax {
            badges[bundleID] = badge
        }
    }

    @discardableResult
    private mutating func expireStored(now: Int64) -> Int {
        let expired = stored.expire(now: now)
        counters.expired += expired
        return expired
    }

    private mutating func nextItem() -> Int {
        items += 1
        return items
    }
}

/// Settings of the simulated devices.
public struct DeviceSettings: Sendable, Equatable {
    /// The number of devices. A new one replaces the least recently used one; 0 disables devices.
    public var countMax = 1000
    /// Notifications per lock screen; a new one replaces the oldest. Each uses up to about 6 KB with its payload.
    public var notificationsMax = 30
    /// Whether an offline device gets the newest push per app and collapse ID, instead of only the newest push per app.
    public var keepsSeveral = false

    public init() {}

    /// Every problem of the settings; empty if they are valid.
    func problems() -> [String] {
        var problems: [String] = []
        if !(0...100_000).contains(countMax) { problems.append("devices must be 0 to 100000") }
        if !(1...1000).contains(notificationsMax) { problems.append("notifications of a device must be 1 to 1000") }
        return problems
    }
}
