/// The payload of a push: `aps` and the app's custom members.
///
/// ```swift
/// var payload = APNSPayload(alert: Alert(title: "Tea", body: "Ready"))
/// payload.aps.badge = 1
/// try payload.merge(["cup": 7])
/// let bytes = try payload.encoded()
/// ```
///
/// Equal payloads encode to equal bytes: members are written in a fixed order, custom members in insertion order.
public struct APNSPayload: Sendable, Hashable {
    public var aps: APS
    /// Whether an empty `aps` is written as `{}`. MDM and file provider pushes have no `aps`.
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

    /// The custom keys in the order in which they are written.
    public var customKeys: [String] { members.map(\.key) }

    /// Adds the members of `object` next to `aps`. An existing member gets the new value and keeps its position.
    ///
    /// - Throws: `reservedKey` if a member is called `aps`; the payload is then unchanged.
    public mutating func merge(_ object: JSONObject) throws(PayloadError) {
        let added = object.members
        guard !added.contains(where: { $0.key == "aps" }) else { throw .reservedKey }
        for member in added { put(member) }
    }

    /// Adds the members of `value`, which Foundation's `JSONEncoder` must encode as an object.
    ///
    /// - Throws: `notEncodable`, `notAnObject`, `reservedKey`.
    public mutating func merge(_ value: some Encodable) throws(PayloadError) {
        try merge(JSONObject(encoding: value))
    }

    /// Adds the members of a JSON object in UTF-8.
    ///
    /// - Throws: `malformed`, `notAnObject`, `reservedKey`.
    public mutating func merge(json: some Sequence<UInt8>) throws(PayloadError) {
        try merge(JSONObject(json))
    }

    /// Sets one custom member.
    ///
    /// - Throws: `reservedKey` if `key` is `aps`, `notEncodable`.
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

    /// The payload as JSON in UTF-8.
    ///
    /// - Throws: `notFinite`.
    public func encoded() throws(PayloadError) -> [UInt8] {
        var writer = ObjectWriter()
        if writesEmptyAPS || !aps.isEmpty { writer.writeObject("aps", aps.write) }
        for member in members { writer.write(member) }
        let bytes = writer.finish()
        guard !writer.isNotFinite else { throw .notFinite }
        return bytes
    }

    /// The payload as JSON in UTF-8, with at most `bytesMax` bytes.
    ///
    /// - Throws: `notFinite`, `tooLarge`.
    public func encoded(bytesMax: Int) throws(PayloadError) -> [UInt8] {
        let bytes = try encoded()
        guard bytes.count <= bytesMax else { throw .tooLarge(bytes.count, max: bytesMax) }
        return bytes
    }
}

extension APNSPayload: CustomStringConvertible, CustomDebugStringConvertible {
    /// The number of custom members. The content must not reach a log.
    public var description: String { "payload with \(members.count) custom members" }
    public var debugDescription: String { description }
}

extension APNSPayload {
    /// Wakes the app in the background: `content-available` only.
    public static func background() -> APNSPayload {
        var payload = APNSPayload()
        payload.aps.isContentAvailable = true
        return payload
    }

    /// Requests new timelines for the app's widgets.
    public static let widgetsChanged = contentChanged
    /// Requests a new state for the app's controls.
    public static let controlsChanged = contentChanged

    private static let contentChanged: APNSPayload = {
        var payload = APNSPayload()
        payload.aps.isContentChanged = true
        return payload
    }()

    /// Starts, updates or ends a Live Activity.
    ///
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

    /// Makes a device connect to its management server. Without `aps`, as nanomdm sends it.
    public static func mdm(pushMagic: String) -> APNSPayload {
        var payload = APNSPayload()
        payload.writesEmptyAPS = false
        payload.members = [PayloadMember(key: "mdm", json: PayloadText.string(pushMagic))]
        return payload
    }

    /// Signals a change to a file provider. Source: Apple developer forum, thread 706004.
    ///
    /// - Parameter domain: required for domains that the app added.
    public static func fileProvider(containerIdentifier: String, domain: String? = nil) -> APNSPayload {
        var payload = APNSPayload()
        payload.writesEmptyAPS = false
        payload.members = [
            PayloadMember(key: "container-identifier", json: PayloadText.string(containerIdentifier))
        ]
        if let domain { payload.members.append(PayloadMember(key: "domain", json: PayloadText.string(domain))) }
        return payload
    }

    /// An update for a Push to Talk app, from iOS 17.2 on.
    public static func pushToTalkServiceUpdate() -> APNSPayload {
        var payload = APNSPayload()
        payload.aps.pttPushType = .serviceUpdate
        return payload
    }
}
