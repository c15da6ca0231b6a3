import APNSWire
import Testing

@Suite struct `APNs ID` {
    @Test func `the text form is parsed in either case and written in lower case`() throws {
        let text = "d917ca4b-ae9f-4549-45f7-126fb07d027d"
        let id = try #require(APNSID(text))
        #expect(id == APNSID(high: 0xD917_CA4B_AE9F_4549, low: 0x45F7_126F_B07D_027D))
        // A form that APNs has echoed: upper case, and not a valid variant.
        #expect(APNSID(text.uppercased()) == id)
        #expect(id.description == text)
        var bytes: [UInt8] = [1]
        id.append(to: &bytes)
        #expect(bytes == [1] + Array(text.utf8))
    }

    @Test(arguments: [
        "", "d917ca4bae9f454945f7126fb07d027d", "d917ca4b-ae9f-4549-45f7-126fb07d027",
        "d917ca4b-ae9f-4549-45f7-126fb07d027dd",
        "g917ca4b-ae9f-4549-45f7-126fb07d027d", "d917ca4b_ae9f_4549_45f7_126fb07d027d",
        "{d917ca4b-ae9f-4549-45f7-126fb07d02}",
        "d917ca4ba-e9f-4549-45f7-126fb07d027d", " 917ca4b-ae9f-4549-45f7-126fb07d027d",
        "d917ca4b-ae9f-4549-45f7-126fb07d02é",
        "------------------------------------", "d917ca4b-ae9f-4549-45f7-126fb07d027-",
    ])
    func `other texts are refused`(_ text: String) {
        #expect(APNSID(text) == nil)
    }

    @Test func `any 128 bits round-trip through text`() {
        for bits in [0, 1, .max, 0x8000_0000_0000_0000, 0x0123_4567_89AB_CDEF] as [UInt64] {
            for other in [0, .max, bits, ~bits] {
                let id = APNSID(high: bits, low: other)
                #expect(APNSID(id.description) == id)
            }
        }
    }

    @Test func `random IDs are version 4 and differ`() {
        let ids = (0..<1000).map { _ in APNSID.random() }
        #expect(Set(ids).count == 1000)
        for id in ids {
            #expect(id.high >> 12 & 15 == 4)
            #expect(id.low >> 62 == 2)
        }
    }

    @Test func `IDs of pushes count up from the first ID of the batch`() {
        let first = APNSID(high: 7, low: 0x8000_0000_0000_0000)
        #expect(first.advanced(by: 0) == first)
        #expect(first.advanced(by: 999).low == 0x8000_0000_0000_03E7)
        #expect(APNSID(high: 7, low: .max).advanced(by: 1) == APNSID(high: 7, low: 0))
        #expect(first < first.advanced(by: 1))
        #expect(APNSID(high: 1, low: 9) < APNSID(high: 2, low: 0))
    }
}

@Suite struct `Device token` {
    @Test func `hexadecimal is parsed in either case and written in lower case`() throws {
        let token = try #require(DeviceToken(hex: "00fFAb"))
        #expect(token.bytes == [0, 0xFF, 0xAB])
        #expect(token.hex == "00ffab")
        #expect(DeviceToken(bytes: [0, 0xFF, 0xAB]) == token)
    }

    @Test(arguments: ["", "0", "abc", "zz", "0x00", "00 0", "ab\0d", "éé", String(repeating: "0", count: 512)])
    func `text that is not a token is refused`(_ text: String) {
        #expect(DeviceToken(hex: text) == nil)
    }

    @Test func `a token has 1 to 255 bytes`() {
        #expect(DeviceToken(bytes: []) == nil)
        #expect(DeviceToken(bytes: [1])?.hex == "01")
        #expect(DeviceToken(hex: String(repeating: "0f", count: 255))?.bytes.count == 255)
        #expect(DeviceToken(bytes: [UInt8](repeating: 1, count: 256)) == nil)
    }

    @Test func `a malformed token leaves the output unchanged`() {
        var bytes: [UInt8] = [9]
        let isToken = Array("aabbxx".utf8).withUnsafeBytes { DeviceToken.appendBytes(ofHex: $0, to: &bytes) }
        #expect(!isToken)
        #expect(bytes == [9])
    }

    @Test func `descriptions show at most eight digits of a token`() throws {
        let token = try #require(DeviceToken(hex: String(repeating: "5a", count: 32)))
        #expect("\(token)" == "5a5a5a5a…")
        #expect(String(reflecting: token) == "5a5a5a5a…")
        let notification = APNSNotification(
            deviceToken: token, headers: NotificationHeaders(topic: "a.b", pushType: .alert),
            payload: Array("secret".utf8)
        )
        #expect(!"\(notification) \(String(reflecting: notification))".contains("5a5a5a5a5a"))
        #expect(!"\(notification)".contains("secret"))
    }
}
