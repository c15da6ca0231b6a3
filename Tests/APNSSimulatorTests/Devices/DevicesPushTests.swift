import APNSSimulator
import APNSWire
import Testing

/// Builds pushes for devices.
enum DevicePushes {
    static func push(
        _ payload: String, topic: String = "com.example.app", type: PushType? = .alert, collapseID: String = "",
        expiration: Int64? = nil, channel: DevicePush.Channel? = nil
    ) -> DevicePush {
        DevicePush(
            id: APNSID(high: 1, low: 1), topic: topic, type: type, expiration: expiration, collapseID: collapseID,
            payload: Array(payload.utf8), channel: channel
        )
    }

    static func alert(_ text: String, collapseID: String = "", expiration: Int64? = nil) -> DevicePush {
        push(#"{"aps":{"alert":"\#(text)"}}"#, collapseID: collapseID, expiration: expiration)
    }

    static func activity(_ aps: String, channel: DevicePush.Channel? = nil) -> DevicePush {
        push(
            #"{"aps":{\#(aps)}}"#, topic: "com.example.app.push-type.liveactivity", type: .liveactivity,
            channel: channel
        )
    }
}

@Suite struct `Payload parsing` {
    @Test func `an alert with all members`() throws {
        let text = #"""
            {"aps":{"alert":{"title":"T","subtitle":"S","body":"B é \u00e9"},"badge":3,"sound":"chime.caf",
            "thread-id":"t","category":"c","interruption-level":"time-sensitive","content-available":1,"new":[1]},"x":{}}
            """#
        let payload = try #require(PushPayload(Array(text.utf8)))
        #expect(payload.title == "T" && payload.subtitle == "S" && payload.body == "B é é")
        #expect(payload.badge == 3 && payload.sound == .init(name: "chime.caf"))
        #expect(payload.threadID == "t" && payload.category == "c")
        #expect(payload.interruptionLevel == "time-sensitive")
        #expect(payload.hasAlert)
    }

    @Test func `localization keys are shown with their arguments`() throws {
        let text =
            #"{"aps":{"alert":{"title-loc-key":"HELLO","title-loc-args":["Ann","Bob"],"loc-key":"BYE","body":"b"}}}"#
        let payload = try #require(PushPayload(Array(text.utf8)))
        #expect(payload.title == "HELLO (Ann, Bob)" && payload.body == "BYE")
        let activity = #"{"aps":{"alert":{"title":{"loc-key":"GOAL","loc-args":["2"]},"body":"b","sound":"s"}}}"#
        let other = try #require(PushPayload(Array(activity.utf8)))
        #expect(other.title == "GOAL (2)" && other.body == "b" && other.sound == .init(name: "s"))
    }

    @Test func `a critical sound makes a critical push`() throws {
        let text = #"{"aps":{"alert":"a","sound":{"critical":1,"name":"siren","volume":0.5}}}"#
        let payload = try #require(PushPayload(Array(text.utf8)))
        #expect(payload.sound == .init(name: "siren", isCritical: true) && payload.interruptionLevel == "critical")
    }

    @Test func `members of a wrong type are ignored`() throws {
        let text =
            #"{"aps":{"alert":[1],"badge":"3","sound":7,"thread-id":{},"interruption-level":"loud","timestamp":"1"}}"#
        #expect(PushPayload(Array(text.utf8)) == PushPayload(Array("{}".utf8)))
        let whole = try #require(PushPayload(Array(#"{"aps":{"badge":2.0,"timestamp":1.5}}"#.utf8)))
        #expect(whole.badge == 2 && whole.activity.timestamp == nil)
    }

    @Test(arguments: ["", "[]", "hello", "{\"aps\":{\"alert\":\"a\"}", "{} x", "{\"aps\":{\"alert\":\"\u{1}\"}}"])
    func `a body that is not a JSON object has no payload`(text: String) {
        #expect(PushPayload(Array(text.utf8)) == nil)
    }

    @Test func `a content state is flattened in order and limited in size`() throws {
        let text =
            #"{"aps":{"content-state":{"z":1,"team":{"name":"A","s":[2,true]},"n":null,"d":{"e":{"f":{"g":{}}}}}}}"#
        let state = try #require(PushPayload(Array(text.utf8))?.activity.state)
        #expect(
            state.map { "\($0.name)=\($0.value)" } == [
                "z=1", "team.name=A", "team.s[0]=2", "team.s[1]=true", "n=null", "d.e.f.g={}",
            ])
        #expect(state.map(\.kind) == [.number, .text, .number, .boolean, .null, .text])
        let many = (0..<100).map { "\"k\($0)\":\($0)" }.joined(separator: ",")
        let cut = PushPayload(Array("{\"aps\":{\"content-state\":{\(many)}}}".utf8))
        #expect(cut?.activity.state?.count == PayloadField.countMax)
    }
}

@Suite struct `Devices: notifications` {
    @Test func `an alert is shown, and replaces the oldest one on a full screen`() {
        var settings = DeviceSettings()
        settings.notificationsMax = 2
        var device = Device(token: [1], number: 7, settings: settings)
        #expect(device.name == "Phone 7")
        for text in ["one", "two", "three"] {
            let result = device.receive(DevicePushes.alert(text), now: 5)
            #expect(result == .shown)
        }
        #expect(device.notifications.map(\.contents.body) == ["two", "three"])
        #expect(device.notifications.map(\.number) == [2, 3])
        #expect(device.counters.received == 3 && device.counters.delivered == 3 && device.counters.shown == 3)
        #expect(device.bundleID == "com.example.app")
    }

    @Test func `a collapse ID replaces a notification of the same app`() {
        var device = Device(token: [1], number: 1)
        device.receive(DevicePushes.alert("old", collapseID: "a"), now: 1)
        device.receive(DevicePushes.alert("other", collapseID: "b"), now: 2)
        let foreign = DevicePushes.push(
            #"{"aps":{"alert":"foreign"}}"#, topic: "com.example.two", collapseID: "a")
        let (first, second) = (
            device.receive(foreign, now: 3), device.receive(DevicePushes.alert("new", collapseID: "a"), now: 4)
        )
        #expect(first == .shown && second == .replaced)
        #expect(device.notifications.map(\.contents.body) == ["other", "foreign", "new"])
        #expect(device.notifications.map(\.number) == [2, 3, 1], "the number stays, the position changes")
        #expect(device.notifications.map(\.replacements) == [0, 0, 1])
        #expect(device.counters.replaced == 1)
    }

    @Test func `each app has its own badge, and 0 clears it`() {
        var device = Device(token: [1], number: 1)
        let first = device.receive(DevicePushes.push(#"{"aps":{"badge":4}}"#), now: 1)
        device.receive(DevicePushes.push(#"{"aps":{"badge":9}}"#, topic: "com.example.two"), now: 1)
        #expect(first == .silent && device.badges == ["com.example.app": 4, "com.example.two": 9])
        device.receive(DevicePushes.push(#"{"aps":{"badge":0}}"#), now: 1)
        #expect(device.badges == ["com.example.two": 9])
        for number in 0..<100 {
            device.receive(DevicePushes.push(#"{"aps":{"badge":1}}"#, topic: "app.\(number)"), now: 1)
        }
        #expect(device.badges.count == Device.appsMax)
    }

    @Test(arguments: PushType.allCases.filter { $0 != .alert && $0 != .liveactivity })
    func `other push types are silent, regardless of their payload`(type: PushType) {
        var device = Device(token: [1], number: 1)
        let push = DevicePushes.push(
            #"{"aps":{"alert":"a","badge":3}}"#, topic: "com.example.app" + type.topicSuffix, type: type)
        let result = device.receive(push, now: 1)
        #expect(result == .silent && device.notifications.isEmpty && device.badges.isEmpty)
        #expect(device.log.map(\.result) == [.silent] && device.bundleID == "com.example.app")
    }

    @Test func `invalid JSON is ignored, and the log is bounded`() {
        var device = Device(token: [1], number: 1)
        for number in 0..<100 {
            let result = device.receive(DevicePushes.push("\(number)"), now: 1)
            #expect(result == .ignored(.notJSON))
        }
        #expect(device.log.count == Device.logMax && device.counters.ignored == 100)
        #expect(device.log.last.map { String(decoding: $0.push.payload, as: UTF8.self) } == "99")
    }

    @Test func `an uninstall removes everything shown and stored`() {
        var device = Device(token: [1], number: 1)
        device.receive(DevicePushes.push(#"{"aps":{"alert":"a","badge":3}}"#), now: 1)
        device.receive(DevicePushes.activity(#""event":"update","timestamp":1,"content-state":{}"#), now: 1)
        device.setOnline(false, now: 1)
        device.receive(DevicePushes.alert("waits"), now: 1)
        device.uninstall()
        device.setOnline(true, now: 2)
        #expect(device.notifications.isEmpty && device.activities.shown.isEmpty && device.badges.isEmpty)
        device.recordRefusal(reason: "Unregistered")
        #expect(device.counters.refused == 1 && device.lastReason == "Unregistered")
    }
}
