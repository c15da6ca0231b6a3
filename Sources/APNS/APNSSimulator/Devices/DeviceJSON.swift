import APNSWire
import JSONText

extension Device {
    /// The ID in the control API, such as `phone-17`.
    var id: String { Self.idPrefix + "\(number)" }

    static let idPrefix = "phone-"

    static func number(ofID id: String) -> Int? {
        id.hasPrefix(idPrefix) ? Int(id.dropFirst(idPrefix.count)) : nil
    }

    /// One object without the contents of the screen. The token is shortened unless `showsToken` is set.
    func appendSummary(to bytes: inout [UInt8], tokenState: DeviceUpdate.TokenState, showsToken: Bool = false) {
        JSONObjectWriter.object(to: &bytes) { writeSummary(to: &$0, tokenState, showsToken) }
    }

    /// The summary with the contents of the screen and the silent log.
    func appendDetail(to bytes: inout [UInt8], tokenState: DeviceUpdate.TokenState, showsToken: Bool) {
        JSONObjectWriter.object(to: &bytes) { members in
            writeSummary(to: &members, tokenState, showsToken)
            writeScreen(to: &members, since: 0)
        }
    }

    /// The changes on the screen since `version`, and the numbers of all current items.
    func appendScreen(to bytes: inout [UInt8], since version: UInt64) {
        JSONObjectWriter.object(to: &bytes) { members in
            members.string("id", id)
            members.array("order", notifications) { JSONWriter.appendInteger($0.number, to: &$1) }
            members.array("cards", activities.shown) { JSONWriter.appendInteger($0.number, to: &$1) }
            members.array("lines", log) { JSONWriter.appendInteger($0.number, to: &$1) }
            writeScreen(to: &members, since: version)
        }
    }

    private func writeScreen(to members: inout JSONObjectWriter, since version: UInt64) {
        members.array("notifications", notifications.lazy.filter { $0.version > version }) { $0.append(to: &$1) }
        members.array("activities", activities.shown.lazy.filter { $0.version > version }) { $0.append(to: &$1) }
        members.array("log", log.lazy.filter { $0.version > version }) { $0.append(to: &$1) }
    }

    private func writeSummary(
        to members: inout JSONObjectWriter, _ tokenState: DeviceUpdate.TokenState, _ showsToken: Bool
    ) {
        members.string("id", id)
        members.string("name", name)
        let hex = DeviceToken(bytes: token)?.hex ?? ""
        members.string("token", showsToken || hex.count <= 8 ? hex : "\(hex.prefix(8))…")
        members.string("app", bundleID)
        members.boolean("online", isOnline)
        members.string("token_state", tokenState.rawValue)
        members.string("last_reason", lastReason)
        members.integer("waiting", stored.count)
        members.object("badges") { badges in
            for (app, badge) in self.badges.sorted(by: { $0.key < $1.key }) { badges.integer(app, badge) }
        }
        members.array("channels", channels.sorted()) { JSONWriter.appendString($0, to: &$1) }
        members.object("counters") { counters.write(to: &$0) }
        members.string(
            "preview", notifications.last.map { $0.contents.title.isEmpty ? $0.contents.body : $0.contents.title })
    }
}

extension DeviceCounters {
    fileprivate func write(to members: inout JSONObjectWriter) {
        let all = [
            ("received", received), ("delivered", delivered), ("shown", shown), ("silent", silent),
            ("replaced", replaced), ("activity_pushes", activityPushes), ("ignored", ignored), ("stored", stored),
            ("overwritten", overwritten), ("expired", expired), ("refused", refused),
        ]
        for (name, count) in all { members.integer(name, count) }
    }
}

extension DevicePush {
    fileprivate func write(to members: inout JSONObjectWriter) {
        members.string("apns_id", id.description)
        members.string("app", bundleID)
        members.string("push_type", type?.description)
        members.integer("priority", priority?.rawValue)
        members.integer("expiration", expiration)
        members.string("collapse_id", collapseID)
        members.string("channel", channel?.id)
        members.string("payload", String(decoding: payload, as: UTF8.self))
    }
}

extension ShownNotification {
    fileprivate func append(to bytes: inout [UInt8]) {
        JSONObjectWriter.object(to: &bytes) { members in
            members.integer("number", number)
            members.integer("version", version)
            members.integer("at", shownAt)
            members.string("title", contents.title)
            members.string("subtitle", contents.subtitle)
            members.string("body", contents.body)
            members.integer("badge", contents.badge)
            members.string("sound", contents.sound?.name)
            members.string("level", contents.interruptionLevel)
            members.string("thread", contents.threadID)
            members.string("category", contents.category)
            members.integer("replacements", replacements)
            push.write(to: &members)
        }
    }
}

extension LiveActivity {
    fileprivate func append(to bytes: inout [UInt8]) {
        JSONObjectWriter.object(to: &bytes) { members in
            members.integer("number", number)
            members.integer("version", version)
            members.string("app", bundleID)
            members.string("channel", channelID)
            members.string("type", type)
            members.array("attributes", attributes) { $0.append(to: &$1) }
            members.array("state", state) { $0.append(to: &$1) }
            members.string("title", title)
            members.string("body", body)
            members.string("sound", sound)
            members.integer("timestamp", timestamp)
            members.integer("stale_date", staleDate)
            members.integer("at", updatedAt)
            members.integer("updates", updates)
            members.integer("ended_at", endedAt)
            members.integer("dismiss_at", dismissAt)
        }
    }
}

extension PayloadField {
    fileprivate func append(to bytes: inout [UInt8]) {
        JSONObjectWriter.object(to: &bytes) { members in
            members.string("name", name)
            members.string("value", value)
            members.string("kind", kind.rawValue)
        }
    }
}

extension LogEntry {
    fileprivate func append(to bytes: inout [UInt8]) {
        JSONObjectWriter.object(to: &bytes) { members in
            members.integer("number", number)
            members.integer("at", at)
            if case .ignored(let reason) = result { members.string("ignored", reason.rawValue) }
            push.write(to: &members)
        }
    }
}
