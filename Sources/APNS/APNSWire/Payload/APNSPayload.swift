/// The body of a push: `aps`, and beside it whatever the app wants.
///
/// ```swift
/// var payload = APNSPayload(alert: Alert(title: "Tea", body: "Ready"))
/// payload.aps.badge = 1
/// try payload.merge(["cup": 7])
/// let bytes = try payload.encoded()
/// ```
///
/// Equal payloads give equal bytes: members are written in a fixed order, custom ones in the order they were added.
public struct APNSPayload: Sendable, Hashable {
    public var aps: APS
    /// Whether an `aps` without content is written as `{}`. MDM and file provider pushes have none at all.
    public var writesEmptyAPS = true
    private var members: [PayloadMember] = []

    public init(_ aps: APS = APS()) {
        self.aps = aps
    }

    public init(alert: Alert, sound: AlertSound? = nil, badge: Int? = nil) {
        aps = APS()
        aps.alert = alert
        aps.sound = sound
        aps.badge = badge
    }

    // MARK: Custom members

    /// Keys beside `aps`, in the order of writing.
    public var customKeys: [String] { members.map(\.key) }

    /// Adds the members of `object` beside `aps`; one that is there already gets the new value and keeps its place.
    ///
    /// - Throws: `reservedKey` when one of them is called `aps`; nothing is added then.
    public mutating func merge(_ object: JSONObject) throws(PayloadError) {
        let added = object.members
        guard !added.contains(where: { $0.key == "aps" }) else { throw .reservedKey }
        for member in added { put(member) }
    }

    /// Adds what Foundation's `JSONEncoder` makes of `value`, which must be an object.
    public mutating func merge(_ value: some Encodable) throws(PayloadError) {
        try merge(JSONObject(encoding: value))
    }

    /// Adds the members of a JSON object in UTF-8.
    public mutating func merge(json: some Sequence<UInt8>) throws(PayloadError) {
        try merge(JSONObject(json))
    }

    /// Sets one member beside `aps`.
    public mutating func set(_ key: String, to value: some Encodable) throws(PayloadError) {
        guard key != "aps" else { throw .reservedKey }
        put(PayloadMember(key: key, json: try PayloadText.encode(value)))
    }

    private mutating func put(_ member: PayloadMember) {
        if let index = members.firstIndex(where: { $0.key == member.key }) {
            members[index].json = member.json
        } else {
            members.append(member)
        }
    }

    // MARK: Bytes

    /// The body in UTF-8.
    ///
    /// - Throws: `notFinite`; nothing else in a payload can fail to be written.
    public func encoded() throws(PayloadError) -> [UInt8] {
        var writer = ObjectWriter()
        if writesEmptyAPS || !aps.isEmpty { writer.writeObject("aps", aps.write) }
        for member in members { writer.write(member) }
        let bytes = writer.finish()
        guard !writer.isNotFinite else { throw .notFinite }
        return bytes
    }

    /// The body in UTF-8, no larger than APNs takes it.
    ///
    /// - Throws: `notFinite`, `tooLarge`.
    public func encoded(bytesMax: Int) throws(PayloadError) -> [UInt8] {
        let bytes = try encoded()
        guard bytes.count <= bytesMax else { throw .tooLarge(bytes.count, max: bytesMax) }
        return bytes
    }
}

extension APNSPayload: CustomStringConvertible, CustomDebugStringConvertible {
    /// Nothing of the content, which belongs in no log.
    public var description: String { "payload with \(members.count) members beside aps" }
    public var debugDescription: String { description }
}

extension APNSPayload {
    /// Wakes the app: `content-available` and nothing else.
    public static func background() -> APNSPayload {
        var payload = APNSPayload()
        payload.aps.isContentAvailable = true
        return payload
    }

    /// Asks for new timelines of the app's widgets.
    public static let widgetsChanged = contentChanged
    /// Asks for a new state of the app's controls.
    public static let controlsChanged = contentChanged

    private static let contentChanged: APNSPayload = {
        var payload = APNSPayload()
        payload.aps.isContentChanged = true
        return payload
    }()

    /// - Parameters:
    ///   - alert: required to start an activity; with an update it lights up the screen.
    ///   - sound: written inside the alert.
    public static func liveActivity(
        _ content: LiveActivityContent, alert: Alert? = nil, sound: AlertSound? = nil
    ) -> APNSPayload {
        var payload = APNSPayload()
        payload.aps.liveActivity = content
        payload.aps.alert = alert
        payload.aps.sound = sound
        return payload
    }

    /// Tells a device to ask its management server. Body as nanomdm sends it: no `aps`.
    public static func mdm(pushMagic: String) -> APNSPayload {
        var payload = APNSPayload()
        payload.writesEmptyAPS = false
        payload.members = [PayloadMember(key: "mdm", json: PayloadText.string(pushMagic))]
        return payload
    }

    /// Tells a file provider that something changed. Source: Apple developer forum, thread 706004.
    ///
    /// - Parameter domain: for domains that the app has added.
    public static func fileProvider(containerIdentifier: String, domain: String? = nil) -> APNSPayload {
        var payload = APNSPayload()
        payload.writesEmptyAPS = false
        payload.members = [
            PayloadMember(key: "container-identifier", json: PayloadText.string(containerIdentifier))
        ]
        if let domain { payload.members.append(PayloadMember(key: "domain", json: PayloadText.string(domain))) }
        return payload
    }

    /// News for a Push to Talk app, from iOS 17.2 on.
    public static func pushToTalkServiceUpdate() -> APNSPayload {
        var payload = APNSPayload()
        payload.aps.pttPushType = .serviceUpdate
        return payload
    }
}
