import APNSWire
import Foundation
import Testing

@Suite struct `Payloads` {
    private func text(_ payload: APNSPayload) throws -> String {
        let bytes = try payload.encoded()
        // Another JSON parser must accept every payload.
        #expect(try JSONSerialization.jsonObject(with: Data(bytes)) is [String: Any])
        return String(decoding: bytes, as: UTF8.self)
    }

    private func aps(_ change: (inout APS) -> Void) throws -> String {
        var payload = APNSPayload()
        change(&payload.aps)
        return try text(payload)
    }

    struct State: Codable {
        var score: Int
        var by: String
    }

    // MARK: aps

    @Test func `an alert with a body only is a string`() throws {
        #expect(try aps { $0.alert = "Tea is ready" } == #"{"aps":{"alert":"Tea is ready"}}"#)
    }

    @Test func `a literal with interpolations is an alert, a text and the name of a sound`() throws {
        let number = 17
        #expect(try aps { $0.alert = "Order \(number) is ready" } == #"{"aps":{"alert":"Order 17 is ready"}}"#)
        #expect(try aps { $0.sound = "bell-\(number).caf" } == #"{"aps":{"sound":"bell-17.caf"}}"#)
        let alert = Alert(title: "Order \(number)", body: .localized("READY"))
        #expect(try aps { $0.alert = alert } == #"{"aps":{"alert":{"title":"Order 17","loc-key":"READY"}}}"#)
        #expect(
            Alert(title: "Order \(number)", body: "Ready") == Alert(title: .plain("Order 17"), body: .plain("Ready")))
        let push = try APNSNotification.alert(
            "Order \(number) is ready", to: DeviceToken(bytes: [1])!, bundleID: "com.example.app")
        #expect(push.payload == Array(#"{"aps":{"alert":"Order 17 is ready"}}"#.utf8))
    }

    @Test func `an alert has its texts, and badge and sound are next to it`() throws {
        let payload = APNSPayload(alert: Alert(title: "Tea", body: "Ready"), sound: .default, badge: 0)
        #expect(
            try text(payload) == #"{"aps":{"alert":{"title":"Tea","body":"Ready"},"badge":0,"sound":"default"}}"#)
    }

    @Test func `localised texts are keys and arguments`() throws {
        var alert = Alert(
            title: .localized("T"), subtitle: .localized("S", args: ["x"]),
            body: .localized("B", args: ["a", "\"b\""]),
            launchImage: "i.png"
        )
        alert.action = "Open"
        alert.actionLocKey = "O"
        alert.summaryArg = "Ann"
        alert.summaryArgCount = 2
        let expected =
            #"{"aps":{"alert":{"title-loc-key":"T","subtitle-loc-key":"S","subtitle-loc-args":["x"],"#
            + #""loc-key":"B","loc-args":["a","\"b\""],"launch-image":"i.png","action":"Open","action-loc-key":"O","#
            + #""summary-arg":"Ann","summary-arg-count":2}}}"#
        #expect(try aps { $0.alert = alert } == expected)
    }

    @Test func `a critical sound is an object`() throws {
        #expect(
            try aps { $0.sound = .critical(volume: 0.25) }
                == #"{"aps":{"sound":{"critical":1,"name":"default","volume":0.25}}}"#)
        #expect(try aps { $0.sound = "bell.caf" } == #"{"aps":{"sound":"bell.caf"}}"#)
    }

    @Test func `every other key of aps is written with its own type`() throws {
        let expected =
            #"{"aps":{"badge":3,"thread-id":"t","category":"c","content-available":1,"mutable-content":1,"#
            + #""target-content-id":"w","interruption-level":"time-sensitive","relevance-score":0.5,"#
            + #""filter-criteria":"f","content-changed":true,"url-args":["a","b"],"ptt-push-type":"service-update"}}"#
        let written = try aps { aps in
            aps.badge = 3
            aps.threadID = "t"
            aps.category = "c"
            aps.isContentAvailable = true
            aps.isMutableContent = true
            aps.targetContentID = "w"
            aps.interruptionLevel = .timeSensitive
            aps.relevanceScore = 0.5
            aps.filterCriteria = "f"
            aps.isContentChanged = true
            aps.urlArgs = ["a", "b"]
            aps.pttPushType = .serviceUpdate
        }
        #expect(written == expected)
    }

    @Test func `infinities and NaN are refused`() throws {
        for score in [Double.infinity, -.infinity, .nan] {
            var payload = APNSPayload()
            payload.aps.relevanceScore = score
            #expect(throws: PayloadError.notFinite) { try payload.encoded() }
        }
        var payload = APNSPayload(alert: "x", sound: .critical(volume: .nan))
        #expect(throws: PayloadError.notFinite) { try payload.encoded() }
        payload.aps.sound = nil
        #expect(try payload.encoded().count == 21)
    }

    // MARK: Live Activities

    @Test func `a Live Activity starts`() throws {
        let content = try LiveActivityContent.start(
            attributesType: "Match", attributes: ["home": "A"], contentState: State(score: 1, by: "B"),
            timestamp: UNIXTime(secondsSince1970: 1_700_000_000), staleDate: UNIXTime(secondsSince1970: 1_700_000_900),
            updateInput: .token
        )
        let expected =
            #"{"aps":{"alert":{"title":{"loc-key":"T","loc-args":["A"]},"body":"Go","sound":"bell.caf"},"#
            + #""event":"start","timestamp":1700000000,"content-state":{"by":"B","score":1},"stale-date":1700000900,"#
            + #""attributes-type":"Match","attributes":{"home":"A"},"input-push-token":1}}"#
        let alert = Alert(title: .localized("T", args: ["A"]), body: "Go")
        #expect(try text(.liveActivity(content, alert: alert, sound: "bell.caf")) == expected)
    }

    @Test func `a Live Activity is updated and ended, and can use a channel`() throws {
        let state = try JSONObject(#" {"a": [1, 2]} "#)
        #expect(
            try text(.liveActivity(.update(contentState: state, timestamp: UNIXTime(secondsSince1970: 5))))
                == #"{"aps":{"event":"update","timestamp":5,"content-state":{"a": [1, 2]}}}"#)
        #expect(
            try text(
                .liveActivity(
                    .end(
                        contentState: nil, timestamp: UNIXTime(secondsSince1970: 6),
                        dismissalDate: UNIXTime(secondsSince1970: 7))))
                == #"{"aps":{"event":"end","timestamp":6,"dismissal-date":7}}"#)
        let channel = try #require(ChannelID("dHN0LXNyY2gtY2hubA=="))
        let content = LiveActivityContent.start(
            attributesType: "M", attributes: .empty, contentState: .empty, timestamp: UNIXTime(secondsSince1970: 8),
            updateInput: .channel(channel))
        let expected =
            #"{"aps":{"event":"start","timestamp":8,"content-state":{},"attributes-type":"M","attributes":{},"#
            + #""input-push-channel":"dHN0LXNyY2gtY2hubA=="}}"#
        #expect(try text(.liveActivity(content)) == expected)
        let dates = try LiveActivityContent.update(
            contentState: ["at": Date(timeIntervalSinceReferenceDate: 9)], timestamp: UNIXTime(secondsSince1970: 1))
        #expect(dates.contentState == (try JSONObject(#"{"at":9}"#)))
        let end = try LiveActivityContent.end(
            contentState: State(score: 2, by: "A"), timestamp: UNIXTime(secondsSince1970: 3))
        #expect(end.contentState == (try JSONObject(#"{"by":"A","score":2}"#)))
    }

    @Test func `all parts of an alert are written in a Live Activity`() throws {
        let update = LiveActivityContent.update(contentState: .empty, timestamp: UNIXTime(secondsSince1970: 1))
        let rest = #""event":"update","timestamp":1,"content-state":{}}}"#
        #expect(try text(.liveActivity(update, sound: "s")) == #"{"aps":{"alert":{"sound":"s"},"# + rest)
        var alert = Alert(title: nil, subtitle: "b", body: "c")
        alert.launchImage = "i"
        let expected = #"{"aps":{"alert":{"subtitle":"b","body":"c","launch-image":"i"},"# + rest
        #expect(try text(.liveActivity(update, alert: alert)) == expected)
    }

    @Test func `descriptions contain no content of a payload`() throws {
        var payload = APNSPayload(alert: "secret")
        try payload.set("secret", to: "secret")
        #expect("\(payload)" == "payload with 1 custom members")
        #expect(String(reflecting: payload) == "\(payload)")
        let object = try JSONObject(#"{"secret":1}"#)
        #expect("\(object)" == "JSON object of 12 bytes")
        #expect(String(reflecting: object) == "\(object)")
    }

    // MARK: Other bodies

    @Test func `each push type has its payload`() throws {
        #expect(try text(APNSPayload()) == #"{"aps":{}}"#)
        #expect(try text(.background()) == #"{"aps":{"content-available":1}}"#)
        #expect(try text(.widgetsChanged) == #"{"aps":{"content-changed":true}}"#)
        #expect(try text(.controlsChanged) == #"{"aps":{"content-changed":true}}"#)
        #expect(try text(.mdm(pushMagic: "M\"1")) == #"{"mdm":"M\"1"}"#)
        #expect(try text(.fileProvider(containerIdentifier: "c")) == #"{"container-identifier":"c"}"#)
        #expect(
            try text(.fileProvider(containerIdentifier: "c", domain: "d"))
                == #"{"container-identifier":"c","domain":"d"}"#)
        #expect(try text(.pushToTalkServiceUpdate()) == #"{"aps":{"ptt-push-type":"service-update"}}"#)
    }

    // MARK: Custom members

    @Test func `custom members are next to aps in insertion order`() throws {
        var payload = APNSPayload(alert: "x")
        try payload.merge(json: Array(#"{"z":1.50,"a":{"b":null},"\u0066":"é"}"#.utf8))
        try payload.merge(State(score: 3, by: "C"))
        try payload.set("url", to: "https://example.com/a")
        try payload.set("z", to: [true])
        #expect(payload.customKeys == ["z", "a", "f", "by", "score", "url"])
        let expected =
            #"{"aps":{"alert":"x"},"z":[true],"a":{"b":null},"f":"é","by":"C","score":3,"url":"https://example.com/a"}"#
        #expect(try text(payload) == expected)
    }

    @Test func `a custom member cannot be called aps`() throws {
        var payload = APNSPayload(alert: "x")
        #expect(throws: PayloadError.reservedKey) { try payload.merge(["a": 1, "aps": 2]) }
        #expect(throws: PayloadError.reservedKey) { try payload.merge(json: #"{"\u0061ps":1}"#.utf8) }
        #expect(throws: PayloadError.reservedKey) { try payload.set("aps", to: 1) }
        #expect(payload == APNSPayload(alert: "x"))
    }

    @Test(arguments: ["[1]", "1", "\"a\"", "null", " true "])
    func `JSON other than an object is refused`(text: String) {
        #expect(throws: PayloadError.notAnObject) { try JSONObject(text) }
    }

    @Test(arguments: ["", "{", "{} {}", "{\"a\":01}", "{\"a\":1,}", "{\"a\":\"\u{1}\"}", "nonsense"])
    func `text that is not JSON is refused with the byte offset of the error`(text: String) {
        let error = #expect(throws: PayloadError.self) { try JSONObject(text) }
        guard case .malformed(let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.contains(/at byte \d+$/))
    }

    @Test func `values that cannot be encoded are refused`() {
        #expect(throws: PayloadError.notEncodable) { try JSONObject(encoding: ["a": Double.nan]) }
        #expect(throws: PayloadError.notAnObject) { try JSONObject(encoding: [1, 2]) }
        var payload = APNSPayload()
        #expect(throws: PayloadError.notEncodable) { try payload.set("a", to: Double.infinity) }
        #expect(payload == APNSPayload())
    }

    @Test func `errors name the mistake without content of the payload`() {
        let error = #expect(throws: PayloadError.self) { try JSONObject("{\"secret\":x}") }
        #expect(error?.description == "not JSON: unexpected character at byte 10")
        #expect(PayloadError.tooLarge(5000, max: 4096).description == "payload has 5000 bytes, 4096 are allowed")
    }

    // MARK: Notifications

    private let token = DeviceToken(bytes: Array(repeating: 7, count: 32))!

    @Test(arguments: PushType.allCases)
    func `a notification has the topic and the priority of its type`(type: PushType) throws {
        let push = try APNSNotification(
            deviceToken: token, bundleID: "a.b", pushType: type, payload: APNSPayload(alert: "x"),
            expiration: .at(UNIXTime(secondsSince1970: 9)))
        #expect(push.headers.topic == "a.b" + type.topicSuffix)
        #expect(push.headers.pushType == type)
        #expect(push.headers.priority == type.defaultPriority)
        #expect(push.expiration == .at(UNIXTime(secondsSince1970: 9)))
        #expect(push.payload == Array(#"{"aps":{"alert":"x"}}"#.utf8))
        let other = try APNSNotification(
            deviceToken: token, bundleID: "a.b", pushType: type, payload: APNSPayload(), priority: .low, collapseID: "c"
        )
        #expect(other.headers.priority == .low)
        #expect(other.headers.collapseID == "c")
        #expect(other.expiration == .none)
    }

    @Test func `a payload may have at most the size that its type allows`() throws {
        for type in [PushType.alert, .voip] {
            let fits = Alert(body: String(repeating: "x", count: type.payloadBytesMax - 20))
            let push = try APNSNotification(
                deviceToken: token, bundleID: "a.b", pushType: type, payload: APNSPayload(alert: fits))
            #expect(push.payload.count == type.payloadBytesMax)
            let large = Alert(body: String(repeating: "x", count: type.payloadBytesMax - 19))
            #expect(throws: PayloadError.tooLarge(type.payloadBytesMax + 1, max: type.payloadBytesMax)) {
                try APNSNotification(
                    deviceToken: token, bundleID: "a.b", pushType: type, payload: APNSPayload(alert: large))
            }
        }
    }

    @Test func `calls and Push to Talk are tried once, alerts may be stored`() throws {
        #expect(try APNSNotification.voip(APNSPayload(), to: token, bundleID: "a.b").expiration == .immediate)
        #expect(try APNSNotification.pushToTalk(APNSPayload(), to: token, bundleID: "a.b").expiration == .immediate)
        let alert = try APNSNotification.alert("x", sound: .default, badge: 1, to: token, bundleID: "a.b")
        #expect(alert.expiration == .none)
        #expect(alert.headers == NotificationHeaders(topic: "a.b", pushType: .alert, priority: .immediate))
        #expect(alert.payload == Array(#"{"aps":{"alert":"x","badge":1,"sound":"default"}}"#.utf8))
    }
}
