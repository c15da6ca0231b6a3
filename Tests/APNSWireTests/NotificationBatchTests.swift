import APNSWire
import Testing

@Suite struct `Notification batch` {
    private let alert = NotificationHeaders(topic: "com.example.app", pushType: .alert, priority: .immediate)
    private let quiet = NotificationHeaders(topic: "com.example.app", pushType: .background, priority: .conserving)

    private func append(
        _ token: [UInt8], _ payload: String, _ headers: NotificationHeaders, expiration: Int64 = 0,
        to batch: inout NotificationBatch
    ) {
        token.withUnsafeBytes { token in
            Array(payload.utf8).withUnsafeBytes { payload in
                batch.append(token: token, payload: payload, headers: headers, expiration: expiration)
            }
        }
    }

    @Test func `appended pushes are read back unchanged`() {
        var batch = NotificationBatch(firstID: APNSID(high: 1, low: 0x10000))
        append([1, 2, 3], "{\"a\":1}", alert, expiration: 77, to: &batch)
        append([4], "{}", quiet, to: &batch)
        append([5, 6], "", alert, expiration: NotificationBatch.noExpiration, to: &batch)
        #expect(batch.count == 3)
        #expect(Array(batch.token(at: 0)) == [1, 2, 3])
        #expect(Array(batch.token(at: 1)) == [4])
        #expect(Array(batch.token(at: 2)) == [5, 6])
        #expect(String(decoding: batch.payload(at: 0), as: UTF8.self) == "{\"a\":1}")
        #expect(String(decoding: batch.payload(at: 1), as: UTF8.self) == "{}")
        #expect(batch.payload(at: 2).isEmpty)
        #expect(batch.entries.map(\.expiration) == [77, 0, -1])
        #expect(batch.entries.map { batch.headers[Int($0.headersIndex)] } == [alert, quiet, alert])
        #expect(batch.id(at: 2) == APNSID(high: 1, low: 0x10002))
    }

    @Test func `equal neighbouring payloads and headers are stored once`() {
        var batch = NotificationBatch(firstID: .random())
        for number in 0..<1000 { append([UInt8(number & 255)], "{\"aps\":{}}", alert, to: &batch) }
        #expect(batch.isFull)
        #expect(batch.payloads.count == 10)
        #expect(batch.headers == [alert])
        #expect(batch.tokens.count == 1000)
        #expect((0..<1000).allSatisfy { String(decoding: batch.payload(at: $0), as: UTF8.self) == "{\"aps\":{}}" })
    }

    @Test func `different payloads of equal length are stored separately`() {
        var batch = NotificationBatch(firstID: .random())
        append([1], "{\"a\":1}", alert, to: &batch)
        append([2], "{\"a\":2}", alert, to: &batch)
        append([3], "{\"a\":2}", alert, to: &batch)
        #expect(batch.payloads.count == 14)
        #expect(String(decoding: batch.payload(at: 2), as: UTF8.self) == "{\"a\":2}")
    }

    @Test func `each push keeps its own headers among many`() {
        var batch = NotificationBatch(firstID: .random())
        for number in 0..<1000 {
            let headers = NotificationHeaders(topic: "app\(number % 20)", pushType: .alert, collapseID: "c\(number)")
            append([1], "{}", headers, to: &batch)
        }
        for number in 0..<1000 {
            #expect(batch.headers[Int(batch.entries[number].headersIndex)].collapseID == "c\(number)")
        }
    }

    @Test func `alternating headers are stored once each`() {
        var batch = NotificationBatch(firstID: .random())
        for number in 0..<100 { append([1], "{}", number.isMultiple(of: 2) ? alert : quiet, to: &batch) }
        #expect(batch.headers == [alert, quiet])
        #expect(
            (0..<100).allSatisfy { batch.headers[Int(batch.entries[$0].headersIndex)] == ($0 % 2 == 0 ? alert : quiet) }
        )
    }

    @Test func `a batch is rebuilt from its columns`() {
        var batch = NotificationBatch(firstID: APNSID(high: 3, low: 0))
        append([1, 2], "{}", alert, to: &batch)
        append([3], "{\"b\":2}", quiet, to: &batch)
        let copy = NotificationBatch(
            firstID: batch.firstID, entries: batch.entries, headers: batch.headers, tokens: batch.tokens,
            payloads: batch.payloads
        )
        #expect(copy == batch)
    }

    @Test func `inconsistent columns are refused`() {
        let good = NotificationBatch.Entry(
            tokenStart: 0, tokenLength: 2, payloadStart: 0, payloadLength: 2, headersIndex: 0, expiration: 0
        )
        func make(_ change: (inout NotificationBatch.Entry) -> Void, count: Int = 1) -> NotificationBatch? {
            var entry = good
            change(&entry)
            return NotificationBatch(
                firstID: .random(), entries: .init(repeating: entry, count: count), headers: [alert], tokens: [1, 2],
                payloads: [0x7B, 0x7D]
            )
        }
        #expect(make { _ in } != nil)
        #expect(make({ _ in }, count: 1000) != nil)
        #expect(make({ _ in }, count: 1001) == nil)
        #expect(make { $0.tokenStart = 1 } == nil)
        #expect(make { $0.tokenStart = .max } == nil)
        #expect(make { $0.tokenLength = 0 } == nil)
        #expect(make { $0.tokenLength = 3 } == nil)
        #expect(make { $0.payloadLength = 3 } == nil)
        #expect(make { $0.payloadStart = .max } == nil)
        #expect(make { $0.headersIndex = 1 } == nil)
    }
}

@Suite struct `APNs vocabulary` {
    @Test func `reasons are recognized by their text`() {
        for reason in APNSReason.allCases where reason != .none && reason != .unknown {
            #expect(APNSReason(label: "\(reason.label)") == reason)
            #expect(reason.status != nil)
        }
        #expect(APNSReason(label: "") == .none)
        #expect(APNSReason(label: "SomethingNew") == .unknown)
        #expect(APNSReason(label: "baddevicetoken") == .unknown)
        #expect(APNSReason.unknown.status == nil)
    }

    @Test func `push types are recognized by their text and have a topic suffix`() {
        for type in PushType.allCases { #expect(PushType(label: type.description) == type) }
        #expect(PushType(label: "Alert") == nil)
        #expect(PushType.voip.payloadBytesMax == 5120)
        #expect(PushType.alert.payloadBytesMax == 4096)
        #expect(PushType.liveactivity.topicSuffix == ".push-type.liveactivity")
    }

    @Test func `a notification that is too large for a batch is refused`() throws {
        let token = try #require(DeviceToken(bytes: [1]))
        let headers = NotificationHeaders(topic: "a.b", pushType: .alert)
        let large = APNSNotification(
            deviceToken: token, headers: headers, payload: .init(repeating: 0x20, count: 65_536))
        #expect(throws: APNSSendError.payloadTooLarge) { try large.batch() }
        let fits = APNSNotification(
            deviceToken: token, headers: headers, payload: .init(repeating: 0x20, count: 65_535),
            expiration: .at(UNIXTime(secondsSince1970: 5))
        )
        let batch = try fits.batch()
        #expect(batch.entries[0].payloadLength == 65_535)
        #expect(batch.entries[0].expiration == 5)
        #expect(batch.id(at: 0) == fits.id)
    }
}
