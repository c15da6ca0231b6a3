import APNSSimulator
import APNSWire
import Testing

@Suite struct `Device table` {
    private func table(_ countMax: Int = 1000) -> DeviceTable {
        var settings = DeviceSettings()
        settings.countMax = countMax
        return DeviceTable(settings: settings, epoch: 5)
    }

    private func push(_ token: UInt8, to table: inout DeviceTable) {
        table.update([token]) { _ = $0.receive(DevicePushes.alert("a"), now: 1) }
    }

    @Test func `a new device replaces the least recently used one`() {
        var table = table(3)
        for token: UInt8 in [1, 2, 3, 1, 4, 5] { push(token, to: &table) }
        #expect(table.devices().map(\.token) == [[5], [4], [1]])
        #expect(table.devices().map(\.number) == [5, 4, 1])
        #expect(table.device(number: 2) == nil && table.device(number: 4)?.token == [4])
        let known = table.updateKnown([2]) { _ in true }
        #expect(known == nil && table.devices().count == 3)
    }

    @Test func `the recency order matches a model`() {
        var table = table(8)
        var model: [UInt8] = []
        var random = SystemRandomNumberGenerator()
        for _ in 0..<3000 {
            let token = UInt8.random(in: 0..<13, using: &random)
            push(token, to: &table)
            model.removeAll { $0 == token }
            model.insert(token, at: 0)
            if model.count > 8 { model.removeLast() }
            let order = table.devices().map { $0.token[0] }
            guard order == model else {
                Issue.record("\(order) is not \(model)")
                return
            }
        }
    }

    @Test func `devices can be disabled`() {
        var table = table(0)
        let nothing: Bool? = table.update([1]) { _ in true }
        #expect(nothing == nil && table.devices().isEmpty && table.cursor.version == 0)
    }

    @Test func `a new listener gets all devices in chunks`() {
        var table = table()
        for token: UInt8 in 1...5 { push(token, to: &table) }
        let first = table.changes(since: nil, limit: 3)
        #expect(first.isResync && first.devices.map(\.number) == [1, 2, 3])
        push(1, to: &table)
        let second = table.changes(since: first.cursor, limit: 3)
        #expect(!second.isResync && second.devices.map(\.number) == [4, 5, 1])
        #expect(first.hasMore && !second.hasMore)
        #expect(second.cursor == table.cursor)
        let third = table.changes(since: second.cursor, limit: 3)
        #expect(third.devices.isEmpty && third.removed.isEmpty && !third.isResync)
    }

    @Test func `a listener gets each removal once`() {
        var table = table(2)
        for token: UInt8 in 1...2 { push(token, to: &table) }
        let cursor = table.cursor
        push(3, to: &table)
        let changes = table.changes(since: cursor, limit: 10)
        #expect(changes.removed == [1] && changes.devices.map(\.number) == [3] && !changes.isResync)
        #expect(table.changes(since: changes.cursor, limit: 10).removed.isEmpty)
    }

    @Test func `a cursor that is too old or from another epoch requires a resync`() {
        var table = table(2)
        push(1, to: &table)
        let old = table.cursor
        for token: UInt8 in 2...200 { push(token, to: &table) }
        let changes = table.changes(since: old, limit: 10)
        #expect(changes.isResync && changes.removed.isEmpty && changes.devices.count == 2)
        for cursor in [
            DeviceTable.Cursor(epoch: 4, version: table.cursor.version),
            .init(epoch: 5, version: table.cursor.version + 1),
        ] { #expect(table.changes(since: cursor, limit: 10).isResync) }
    }

    @Test func `the received changes add up to the table, at any pace`() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<30 {
            var table = table(4)
            var cursor: DeviceTable.Cursor?
            var known: [Int: UInt64] = [:]
            for _ in 0..<400 {
                push(.random(in: 0..<7, using: &random), to: &table)
                guard Int.random(in: 0..<9, using: &random) == 0 else { continue }
                Self.catchUp(&known, &cursor, with: table, limit: 2)
            }
            while cursor != table.cursor { Self.catchUp(&known, &cursor, with: table, limit: 2) }
            let actual = table.devices().map { ($0.number, $0.version) }
            #expect(known == Dictionary(uniqueKeysWithValues: actual))
        }
    }

    private static func catchUp(
        _ known: inout [Int: UInt64], _ cursor: inout DeviceTable.Cursor?, with table: DeviceTable, limit: Int
    ) {
        let changes = table.changes(since: cursor, limit: limit)
        if changes.isResync { known = [:] }
        for number in changes.removed { known[number] = nil }
        for device in changes.devices { known[device.number] = device.version }
        cursor = changes.cursor
    }

    @Test func `a broadcast reaches subscribed devices and those that show its activity`() {
        var table = table()
        for token: UInt8 in 1...4 { push(token, to: &table) }
        table.update([1]) { $0.channels = ["Y2g="] }
        table.update([2]) {
            _ = $0.receive(
                DevicePushes.activity(
                    #""event":"start","timestamp":1,"input-push-channel":"Y2g=","content-state":{"n":1}"#), now: 1)
        }
        table.update([3]) { $0.channels = ["other"] }
        let before = table.cursor
        let update = DevicePushes.activity(
            #""event":"update","timestamp":2,"content-state":{"n":2}"#, channel: .init(id: "Y2g=", keepsNewest: false))
        let reached = table.broadcast(update, now: 2)
        let changed = table.changes(since: before, limit: 10).devices
        #expect(reached == 2 && changed.map(\.token) == [[1], [2]])
        #expect(changed.allSatisfy { $0.activities.shown.map { $0.state.map(\.value) } == [["2"]] })
    }

    @Test func `expiry changes a device without a push`() {
        var table = table()
        table.update([1]) { $0.setOnline(false, now: 1000) }
        table.update([1]) { _ = $0.receive(DevicePushes.alert("a", expiration: 2), now: 1000) }
        push(2, to: &table)
        let before = table.cursor
        table.advance(to: 1999)
        #expect(table.cursor == before)
        table.advance(to: 2000)
        #expect(table.changes(since: before, limit: 9).devices.map(\.counters.expired) == [1])
        let after = table.cursor
        table.advance(to: 3000)
        #expect(table.cursor == after)
    }
}
