import APNSSimulator
import APNSWire
import Testing

@Suite struct `Devices: store and forward` {
    static let now: Int64 = 1_700_000_000_000
    static let day: Int64 = 86_400_000

    private func offline(_ settings: DeviceSettings = DeviceSettings()) -> Device {
        var device = Device(token: [1], number: 1, settings: settings)
        device.setOnline(false, now: Self.now)
        return device
    }

    private func texts(_ device: Device) -> [String] { device.notifications.map(\.contents.body) }

    @Test func `the newest push of each app is stored`() {
        var device = offline()
        let results = ["one", "two", "three"].map { device.receive(DevicePushes.alert($0), now: Self.now) }
        #expect(results == [.stored, .storedReplacingOlder, .storedReplacingOlder])
        #expect(device.stored.count == 1 && device.notifications.isEmpty && device.counters.delivered == 0)
        let other = device.receive(
            DevicePushes.push(#"{"aps":{"alert":"other app"}}"#, topic: "com.example.two"), now: Self.now)
        #expect(other == .stored)
        device.setOnline(true, now: Self.now + 1)
        #expect(texts(device) == ["three", "other app"])
        #expect(device.counters.received == 4 && device.counters.stored == 4 && device.counters.overwritten == 2)
        #expect(device.counters.delivered == 2 && device.stored.isEmpty)
        device.setOnline(true, now: Self.now + 2)
        #expect(device.counters.delivered == 2, "once")
    }

    @Test func `with keepsSeveral, one push per collapse ID is stored, up to a limit`() {
        var settings = DeviceSettings()
        settings.keepsSeveral = true
        settings.notificationsMax = 100
        var device = offline(settings)
        for (text, id) in [("a1", "a"), ("b1", "b"), ("x1", ""), ("a2", "a"), ("x2", "")] {
            device.receive(DevicePushes.alert(text, collapseID: id), now: Self.now)
        }
        #expect(device.stored.count == 3)
        for number in 0..<100 {
            device.receive(DevicePushes.alert("n\(number)", collapseID: "n\(number)"), now: Self.now)
        }
        #expect(device.stored.count == StoredPushes.countMax)
        device.setOnline(true, now: Self.now)
        #expect(texts(device) == (84..<100).map { "n\($0)" })
    }

    @Test func `a push with expiration 0 or in the past is not stored`() {
        var device = offline()
        for expiration in [0, 300, Self.now / 1000] {
            let result = device.receive(DevicePushes.alert("a", expiration: expiration), now: Self.now)
            #expect(result == .discarded)
        }
        #expect(device.stored.isEmpty && device.counters.expired == 3)
        device.setOnline(true, now: Self.now)
        let result = device.receive(DevicePushes.alert("a", expiration: 0), now: Self.now)
        #expect(result == .shown, "it reaches a device that is online")
    }

    @Test func `a push is dropped at its expiration`() {
        let expiration = Self.now / 1000 + 60
        for (wait, texts) in [(Int64(59_999), ["a"]), (60_000, [])] {
            var device = offline()
            device.receive(DevicePushes.alert("a", expiration: expiration), now: Self.now)
            #expect(device.nextDue == Self.now + 60_000)
            device.setOnline(true, now: Self.now + wait)
            #expect(self.texts(device) == texts)
            #expect(device.counters.expired == (texts.isEmpty ? 1 : 0))
        }
        var device = offline()
        device.receive(DevicePushes.alert("a", expiration: expiration), now: Self.now)
        let early = device.advance(to: Self.now + 59_999)
        let late = device.advance(to: Self.now + 60_000)
        #expect(!early && late && device.counters.expired == 1 && device.nextDue == nil)
    }

    @Test(arguments: [nil, 4_000_000_000_000, Int64.max] as [Int64?])
    func `a push is stored for at most 30 days`(expiration: Int64?) {
        var device = offline()
        device.receive(DevicePushes.alert("a", expiration: expiration), now: Self.now)
        #expect(device.nextDue == Self.now + 30 * Self.day)
    }

    @Test func `a broadcast is stored only with storage policy 1, for at most 8 hours`() {
        for keepsNewest in [false, true] {
            var device = offline()
            let results = (1...2).map { number in
                device.receive(
                    DevicePushes.activity(
                        #""event":"update","timestamp":\#(number),"content-state":{"n":\#(number)}"#,
                        channel: .init(id: "Y2g=", keepsNewest: keepsNewest)
                    ), now: Self.now)
            }
            #expect(results == (keepsNewest ? [.stored, .storedReplacingOlder] : [.discarded, .discarded]))
            #expect(device.nextDue == (keepsNewest ? Self.now + Self.day / 3 : nil))
            device.setOnline(true, now: Self.now + 1)
            #expect(device.activities.shown.map { $0.state.map(\.value) } == (keepsNewest ? [["2"]] : []))
        }
    }
}

@Suite struct `Devices: Live Activities` {
    static let now: Int64 = 1_700_000_000_000

    private func apply(_ aps: String, to device: inout Device, now: Int64 = now) -> DevicePushResult {
        device.receive(DevicePushes.activity(aps), now: now)
    }

    @Test func `an activity starts, is updated and ends`() throws {
        var device = Device(token: [1], number: 1)
        let results = [
            apply(
                #""event":"start","timestamp":10,"attributes-type":"Ride","attributes":{"car":"Blue"},"#
                    + #""alert":{"title":"T","body":"B","sound":"s"},"content-state":{"eta":9},"stale-date":99"#,
                to: &device),
            apply(#""event":"update","timestamp":11,"content-state":{"eta":5}"#, to: &device, now: Self.now + 1),
        ]
        #expect(results == [.activityStarted, .activityUpdated])
        let card = try #require(device.activities.shown.first)
        #expect(card.type == "Ride" && card.attributes.map(\.value) == ["Blue"] && card.state.map(\.value) == ["5"])
        #expect(card.updates == 2 && card.staleDate == nil && card.updatedAt == Self.now + 1 && card.endedAt == nil)
        let end = apply(#""event":"end","timestamp":12"#, to: &device, now: Self.now + 2)
        #expect(end == .activityEnded)
        let ended = try #require(device.activities.shown.first)
        #expect(ended.state.map(\.value) == ["5"] && ended.endedAt == Self.now + 2)
        #expect(ended.dismissAt == Self.now + 2 + 4 * 3_600_000, "four hours after the end")
        #expect(device.counters.activityPushes == 3)
        let early = device.advance(to: Self.now + 4 * 3_600_000)
        let late = device.advance(to: Self.now + 2 + 4 * 3_600_000)
        #expect(!early && late && device.activities.shown.isEmpty)
    }

    @Test func `the newest timestamp wins, and pushes after the end are ignored`() {
        var device = Device(token: [1], number: 1)
        let results = [
            (#""event":"end","timestamp":1"#, DevicePushResult.ignored(.noActivity)),
            (#""event":"update","timestamp":10,"content-state":{"n":1}"#, .activityUpdated),
            (#""event":"update","timestamp":9,"content-state":{"n":2}"#, .ignored(.olderTimestamp)),
            (#""event":"update","timestamp":10,"content-state":{"n":3}"#, .activityUpdated),
            (#""event":"update","content-state":{"n":4}"#, .ignored(.noTimestamp)),
            (#""event":"update","timestamp":11"#, .ignored(.noContentState)),
            (#""event":"update","timestamp":11,"content-state":7"#, .ignored(.noContentState)),
            (#""event":"pause","timestamp":11"#, .ignored(.unknownEvent)),
            (#""event":"end","timestamp":12,"dismissal-date":1"#, .activityEnded),
            (#""event":"update","timestamp":13,"content-state":{"n":5}"#, .ignored(.afterEnd)),
            (#""event":"end","timestamp":14"#, .ignored(.afterEnd)),
            (#""event":"start","timestamp":15,"content-state":{"n":6}"#, .activityStarted),
        ]
        for (aps, result) in results {
            let actual = apply(aps, to: &device)
            #expect(actual == result, "\(aps)")
            if result == .activityEnded { #expect(device.activities.shown.isEmpty, "dismissed immediately") }
        }
        #expect(device.activities.shown.map { $0.state.map(\.value) } == [["6"]])
        #expect(device.log.count == 8 && device.counters.ignored == 8)
    }

    @Test func `a dismissal date is respected, for at most four hours`() {
        for (date, due) in [(Self.now / 1000 + 60, Self.now + 60_000), (Int64.max, Self.now + 4 * 3_600_000)] {
            var device = Device(token: [1], number: 1)
            _ = apply(#""event":"update","timestamp":1,"content-state":{}"#, to: &device)
            _ = apply(#""event":"end","timestamp":2,"dismissal-date":\#(date)"#, to: &device)
            #expect(device.nextDue == due)
        }
    }

    @Test func `a broadcast updates the activity of its channel and cannot start one`() {
        var device = Device(token: [1], number: 1)
        _ = apply(#""event":"start","timestamp":1,"input-push-channel":"Y2g=","content-state":{"n":1}"#, to: &device)
        _ = apply(#""event":"start","timestamp":1,"content-state":{"n":2}"#, to: &device)
        let channel = DevicePush.Channel(id: "Y2g=", keepsNewest: false)
        let update = device.receive(
            DevicePushes.activity(#""event":"update","timestamp":2,"content-state":{"n":3}"#, channel: channel), now: 1)
        let start = device.receive(
            DevicePushes.activity(#""event":"start","timestamp":3,"content-state":{"n":4}"#, channel: channel), now: 1)
        #expect(update == .activityUpdated && start == .ignored(.unknownEvent))
        #expect(device.activities.shown.map { $0.state.map(\.value) } == [["3"], ["2"]])
    }

    @Test func `the number of activities is bounded`() {
        var device = Device(token: [1], number: 1)
        for number in 1...20 {
            _ = apply(#""event":"start","timestamp":1,"content-state":{"n":\#(number)}"#, to: &device)
        }
        #expect(device.activities.shown.map { $0.state[0].value } == ["16", "17", "18", "19", "20"])
    }
}
