import APNSWire

/// One device, known by one token: what APNs keeps for it while it is offline, and what its lock screen shows.
///
/// Pure: pushes, switches and the time come in, and what became of a push goes out. A token names one app on one
/// device, but a client may push several topics to it; they are told apart as several apps of one device.
package struct Device: Sendable {
    /// Lines kept of the silent log.
    package static let logMax = 30
    /// Apps whose badge is kept.
    package static let appsMax = 16
    package static let channelsMax = 32

    package let token: [UInt8]
    /// Counts devices from 1.
    package let number: Int
    package var name: String
    package private(set) var isOnline = true
    /// Channels it is subscribed to.
    package var channels: Set<String> = []
    /// Badge by bundle ID; apps without one are left out.
    package private(set) var badges: [String: Int] = [:]
    /// Bundle ID of the last push.
    package private(set) var bundleID = ""
    /// Oldest first.
    package private(set) var notifications: [ShownNotification] = []
    package private(set) var activities = LiveActivities()
    /// Oldest first.
    package private(set) var log: [LogEntry] = []
    package private(set) var stored = StoredPushes()
    package internal(set) var counters = DeviceCounters()
    /// The table's version at its last change.
    package var version: UInt64 = 0
    /// Of the last refusal; empty when the last push was taken.
    package private(set) var lastReason = ""

    private let settings: DeviceSettings
    private var items = 0

    package init(token: [UInt8], number: Int, settings: DeviceSettings = DeviceSettings()) {
        self.token = token
        self.number = number
        self.settings = settings
        name = "Phone \(number)"
    }

    /// When something goes by itself, in UNIX milliseconds.
    package var nextDue: Int64? { [stored.nextDue, activities.nextDue].compactMap { $0 }.min() }

    // MARK: Pushes

    /// APNs has taken a push for the device.
    ///
    /// - Parameter now: UNIX milliseconds.
    @discardableResult
    package mutating func taken(_ push: DevicePush, now: Int64) -> DeviceFate {
        counters.received += 1
        bundleID = push.bundleID
        lastReason = ""
        if isOnline { return deliver(push, now: now) }
        expireStored(now: now)
        switch stored.store(push, keepsSeveral: settings.keepsSeveral, now: now) {
        case .stored:
            counters.stored += 1
            return .stored
        case .storedInstead:
            counters.stored += 1
            counters.overwritten += 1
            return .storedInstead
        case .discarded:
            counters.expired += 1
            return .discarded
        }
    }

    /// APNs has refused a push for the device.
    package mutating func refused(reason: String) {
        counters.refused += 1
        lastReason = reason
    }

    // MARK: Switches

    /// Goes on or off the network. What waited is delivered.
    package mutating func setOnline(_ isOnline: Bool, now: Int64) {
        self.isOnline = isOnline
        guard isOnline else { return }
        expireStored(now: now)
        for push in stored.takeAll() { deliver(push, now: now) }
    }

    /// The app was removed: all that it showed goes, and so does what waits for it.
    package mutating func uninstalled() {
        notifications.removeAll()
        activities.removeAll()
        badges.removeAll()
        stored.removeAll()
    }

    /// Time has passed.
    ///
    /// - Returns: whether anything has changed.
    package mutating func advance(to now: Int64) -> Bool {
        let expired = expireStored(now: now)
        return activities.dismiss(now: now) + expired > 0
    }

    // MARK: Delivery

    @discardableResult
    private mutating func deliver(_ push: DevicePush, now: Int64) -> DeviceFate {
        counters.delivered += 1
        let fate = present(push, now: now)
        switch fate {
        case .shown: counters.shown += 1
        case .replaced:
            counters.shown += 1
            counters.replaced += 1
        case .silent: counters.silent += 1
        case .ignored: counters.ignored += 1
        case .activityStarted, .activityUpdated, .activityEnded: counters.activityPushes += 1
        case .stored, .storedInstead, .discarded: preconditionFailure("a push was delivered and stored")
        }
        switch fate {
        case .silent, .ignored:
            if log.count == Self.logMax { log.removeFirst() }
            log.append(LogEntry(number: nextItem(), version: version, push: push, at: now, fate: fate))
        default: break
        }
        return fate
    }

    private mutating func present(_ push: DevicePush, now: Int64) -> DeviceFate {
        guard let contents = PushPayload(push.payload) else { return .ignored(.notJSON) }
        if push.type == .liveactivity {
            return activities.apply(contents, of: push, number: nextItem(), version: version, now: now)
        }
        // Only an alert may disturb the user; the other types wake an app, a widget or an extension.
        guard push.type == .alert || push.type == nil else { return .silent }
        if let badge = contents.badge { setBadge(badge) }
        guard contents.hasAlert else { return .silent }
        return show(push, contents, now: now)
    }

    private mutating func show(_ push: DevicePush, _ contents: PushPayload, now: Int64) -> DeviceFate {
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

/// How many devices are remembered, and how APNs stores for them.
public struct DeviceSettings: Sendable, Equatable {
    /// Past it the device that was used least recently is forgotten; 0 remembers none.
    public var countMax = 1000
    /// Notifications on one lock screen; past it the oldest goes. With its payload each takes up to about 6 KB.
    public var notificationsMax = 30
    /// Whether several pushes wait for a device that is offline, told apart by collapse id, or one for each app.
    public var keepsSeveral = false

    public init() {}

    /// Every problem at once.
    func problems() -> [String] {
        var problems: [String] = []
        if !(0...100_000).contains(countMax) { problems.append("devices must be 0 to 100000") }
        if !(1...1000).contains(notificationsMax) { problems.append("notifications of a device must be 1 to 1000") }
        return problems
    }
}
