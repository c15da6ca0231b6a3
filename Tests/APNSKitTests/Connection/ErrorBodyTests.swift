import APNSKit
import APNSWire
import Testing

@Suite struct `Error body` {
    private func read(_ text: String) -> ErrorBody { ErrorBody(Array(text.utf8)) }

    @Test func `reason and timestamp are read`() {
        #expect(read(#"{"reason":"BadDeviceToken"}"#).reason == .badDeviceToken)
        let gone = read(#" {"timestamp":1712000000123, "more":{"a":[1]}, "reason":"Unregistered"} "#)
        #expect(gone.reason == .unregistered)
        #expect(gone.timestamp == 1_712_000_000_123)
        #expect(gone.unknownReason == nil)
    }

    @Test(arguments: [
        "", " ", "{}", "[]", "null", "\"BadDeviceToken\"", "<html><body>502 Bad Gateway</body></html>", #"{"reason":"#,
        #"{"reason":"BadDeviceToken""#, #"{"reason":"BadDeviceToken"}}"#, #"{"reason":null}"#, #"{"reason":42}"#,
        #"{"reason":{"a":"b"}}"#, #"{"Reason":"BadDeviceToken"}"#, #"{"reason":""}"#, #"{"reason":"\ud800"}"#,
    ])
    func `a body that cannot be read has no reason`(_ text: String) {
        #expect(read(text).reason == .none)
        #expect(read(text).unknownReason == nil)
    }

    @Test func `a body with invalid bytes or above the size limit has no reason`() {
        #expect(ErrorBody([0xFF, 0xFE, 0]).reason == .none)
        let padding = String(repeating: " ", count: ErrorBody.bytesMax)
        #expect(read(#"{"reason":"BadTopic"}"# + padding).reason == .none)
        #expect(read(#"{"reason":"BadTopic"}"# + padding.dropLast(21)).reason == .badTopic)
        #expect(read(String(repeating: "[", count: 4000)).reason == .none)
    }

    @Test(arguments: ["1.5", "-7", "1e3", "99999999999999999999", "null", "\"1\"", "true"])
    func `an invalid timestamp is ignored`(_ timestamp: String) {
        let body = read(#"{"reason":"Unregistered","timestamp":\#(timestamp)}"#)
        #expect(body.timestamp == 0)
        #expect(body.reason == .unregistered)
    }

    @Test func `an unknown reason is kept verbatim, up to 128 printable bytes`() {
        let body = read(#"{"reason":"TooFancy"}"#)
        #expect(body.reason == .unknown)
        #expect(body.unknownReason == "TooFancy")
        #expect(read(#"{"reason":"a\u0000\n\u001bb\u007f\u2028é"}"#).unknownReason == "a???b??é")
        #expect(read(#"{"reason":"\#(String(repeating: "x", count: 500))"}"#).unknownReason?.utf8.count == 128)
        #expect(read(#"{"reason":"\#(String(repeating: "é", count: 500))"}"#).unknownReason?.utf8.count == 128)
        #expect(read(#"{"reason":"\#(String(repeating: "€", count: 500))"}"#).unknownReason?.utf8.count == 126)
    }
}
