import APNSWire
import Testing

@Suite struct `Broadcast channels` {
    private static let channel = ChannelID("dHN0LXNyY2gtY2hubA==")!
    private static let id = APNSID(high: 1, low: 2)
    private static let idField = ChannelRequest.HeaderField("apns-request-id", "\(id)")
    private static let channelField = ChannelRequest.HeaderField("apns-channel-id", "dHN0LXNyY2gtY2hubA==")

    private func response(
        _ status: UInt16, _ body: String = "", _ fields: [String: String] = [:],
        to operation: ChannelRequest.Operation
    ) -> ChannelResponse {
        ChannelResponse(
            status: status, headers: fields.map { ChannelRequest.HeaderField($0.key, $0.value) },
            body: Array(body.utf8),
            to: operation
        )
    }

    // MARK: IDs

    @Test(arguments: ["dHN0LXNyY2gtY2hubA==", "ab+/", "ab-_", "a", "abc=", String(repeating: "A", count: 256)])
    func `base64 in either alphabet is a channel ID`(text: String) {
        #expect(ChannelID(text)?.text == text)
    }

    @Test(arguments: ["", "=", "==", "a===", "a=b", "a b", "a\r\n", "é", String(repeating: "A", count: 257)])
    func `text other than base64 is not a channel ID`(text: String) {
        #expect(ChannelID(text) == nil)
    }

    @Test func `a printed channel ID is shortened`() {
        #expect("\(Self.channel)" == "dHN0LX…")
        #expect(String(reflecting: Self.channel) == "dHN0LX…")
    }

    @Test func `only a channel with storage accepts an expiration`() {
        #expect(ChannelStoragePolicy.none.rawValue == 0 && ChannelStoragePolicy.newest.rawValue == 1)
        #expect(ChannelStoragePolicy.none.accepts(.immediate))
        #expect(!ChannelStoragePolicy.none.accepts(.at(UNIXTime(secondsSince1970: 1))))
        #expect(ChannelStoragePolicy.newest.accepts(.at(UNIXTime(secondsSince1970: 1))))
    }

    // MARK: Requests

    @Test func `a channel is created`() throws {
        let request = try ChannelRequest.create(bundleID: "com.example.app", policy: .newest, requestID: Self.id)
        #expect(request.method == "POST")
        #expect(request.path == "/1/apps/com.example.app/channels")
        #expect(request.headers == [Self.idField])
        #expect(request.body == Array(#"{"message-storage-policy":1,"push-type":"LiveActivity"}"#.utf8))
        let none = try ChannelRequest.create(bundleID: "a", policy: .none)
        #expect(none.body == Array(#"{"message-storage-policy":0,"push-type":"LiveActivity"}"#.utf8))
    }

    @Test func `reading and deleting name the channel in a header field and have no body`() throws {
        let read = try ChannelRequest.read(bundleID: "a.b", channel: Self.channel, requestID: Self.id)
        #expect(read.method == "GET")
        let delete = try ChannelRequest.delete(bundleID: "a.b", channel: Self.channel, requestID: Self.id)
        #expect(delete.method == "DELETE")
        for request in [read, delete] {
            #expect(request.path == "/1/apps/a.b/channels")
            #expect(request.headers == [Self.idField, Self.channelField])
            #expect(request.body == nil)
        }
    }

    @Test func `channels are listed`() throws {
        let request = try ChannelRequest.list(bundleID: "a.b", requestID: Self.id)
        #expect(request.method == "GET")
        #expect(request.path == "/1/apps/a.b/all-channels")
        #expect(request.headers == [Self.idField])
        #expect(request.body == nil)
    }

    @Test func `publishing always sends a priority`() throws {
        let payload = try APNSPayload.liveActivity(
            .update(contentState: .empty, timestamp: UNIXTime(secondsSince1970: 1))
        ).encoded()
        let request = try ChannelRequest.publish(
            bundleID: "a.b", channel: Self.channel, payload: payload, requestID: Self.id)
        #expect(request.method == "POST")
        #expect(request.path == "/4/broadcasts/apps/a.b")
        #expect(
            request.headers == [
                Self.idField, Self.channelField, .init("apns-push-type", "liveactivity"),
                .init("apns-expiration", "0"), .init("apns-priority", "10"),
            ])
        #expect(request.body == payload)
        let other = try ChannelRequest.publish(
            bundleID: "a.b", channel: Self.channel, payload: payload, expiration: .at(UNIXTime(secondsSince1970: 77)),
            priority: .conserving,
            policy: .newest)
        #expect(other.headers.suffix(2) == [.init("apns-expiration", "77"), .init("apns-priority", "5")])
    }

    @Test func `requests that APNs would refuse are not built`() throws {
        let channel = Self.channel
        for bundleID in ["", "a/../b", "a b", "a?b", "a\r\n", "é", String(repeating: "a", count: 256)] {
            #expect(throws: ChannelRequestError.badBundleID) { try ChannelRequest.list(bundleID: bundleID) }
        }
        #expect(throws: ChannelRequestError.topicForBundleID) {
            try ChannelRequest.create(bundleID: "a.b.push-type.liveactivity", policy: .none)
        }
        func publish(_ count: Int, _ expiration: Expiration, _ policy: ChannelStoragePolicy?) throws -> ChannelRequest {
            let payload = [UInt8](repeating: 0x20, count: count)
            return try ChannelRequest.publish(
                bundleID: "a", channel: channel, payload: payload, expiration: expiration, policy: policy)
        }
        #expect(throws: ChannelRequestError.payloadEmpty) { try publish(0, .immediate, nil) }
        #expect(throws: ChannelRequestError.payloadTooLarge(5121)) { try publish(5121, .immediate, nil) }
        #expect(throws: ChannelRequestError.expirationNotAccepted) {
            try publish(1, .at(UNIXTime(secondsSince1970: 1)), ChannelStoragePolicy.none)
        }
        #expect(throws: ChannelRequestError.expirationNotAccepted) {
            try publish(1, .at(UNIXTime(secondsSince1970: -1)), nil)
        }
        #expect(throws: ChannelRequestError.expirationNotAccepted) { try publish(1, .none, nil) }
        #expect(try publish(5120, .at(UNIXTime(secondsSince1970: 1)), nil).body?.count == 5120)
    }

    @Test func `a request is printed without channel and payload`() throws {
        let request = try ChannelRequest.publish(
            bundleID: "a", channel: Self.channel, payload: Array("{\"secret\":1}".utf8), requestID: Self.id)
        #expect("\(request)" == "POST /4/broadcasts/apps/a (\(Self.id))")
        #expect(String(reflecting: request) == "\(request)")
    }

    // MARK: Answers

    @Test func `each success has its content`() {
        let fields = ["apns-request-id": "\(Self.id)", "apns-unique-id": "u"]
        let created = response(
            201, "", fields.merging(["apns-channel-id": Self.channel.text]) { $1 }, to: .create)
        #expect(created.disposition == .created(Self.channel))
        #expect(created.requestID == Self.id)
        #expect(created.uniqueID == "u")
        let body = #"{"push-type":"LiveActivity","message-storage-policy":1,"new":[{}]}"#
        #expect(response(200, body, to: .read).disposition == .described(.newest))
        #expect(response(204, to: .delete).disposition == .deleted)
        #expect(response(200, fields["x"] ?? "", to: .publish).disposition == .published)
        #expect(response(200, #"{"channels":[]}"#, to: .list).disposition == .listed([], unreadable: 0))
        #expect(
            response(200, #"{"channels":["dHN0LXNyY2gtY2hubA==","no id","ab\/c"]}"#, to: .list).disposition
                == .listed([Self.channel, ChannelID("ab/c")!], unreadable: 1))
    }

    @Test func `a success without its required content is malformed`() {
        #expect(response(201, to: .create).disposition == .malformed)
        #expect(response(201, "", ["apns-channel-id": "not base64"], to: .create).disposition == .malformed)
        for body in ["", "{}", "<html>", #"{"message-storage-policy":2}"#, #"{"message-storage-policy":"1"}"#] {
            #expect(response(200, body, to: .read).disposition == .malformed, "\(body)")
        }
        for body in ["", "{}", "[]", #"{"channels":{}}"#, #"{"channels":["a""#, #"{"channels":[1]}"#] {
            #expect(response(200, body, to: .list).disposition == .malformed, "\(body)")
        }
    }

    @Test(arguments: ChannelRequest.Operation.allCases)
    func `refusals keep status and reason, whatever the body`(operation: ChannelRequest.Operation) {
        func refusal(_ status: UInt16, _ body: String, _ fields: [String: String] = [:]) -> ChannelResponse.Refusal? {
            let response = response(status, body, fields, to: operation)
            #expect(response.status == status)
            guard case .refused(let refusal) = response.disposition else { return nil }
            return refusal
        }
        #expect(refusal(400, #"{"reason":"ChannelNotRegistered"}"#)?.reason == .channelNotRegistered)
        #expect(refusal(503, #"{"reason":"Service Unavailable"}"#)?.reason == .serviceUnavailable)
        let new = refusal(418, #"{"a":1,"reason":"IsATeapot"}"#, ["retry-after": "7"])
        #expect(new?.reason == .unknown && new?.unknownReason == "IsATeapot" && new?.retryAfter == .seconds(7))
        let long = refusal(400, #"{"reason":"\#(String(repeating: "é", count: 100))"}"#)
        #expect(long?.unknownReason == String(repeating: "é", count: 64))
        for body in ["", "<html></html>", "{", "{}", "[]", #"{"reason":7}"#, String(repeating: "[", count: 100_000)] {
            #expect(refusal(500, body)?.reason == APNSReason.none)
        }
    }

    @Test func `the success status of one operation is a refusal for another`() {
        for operation in ChannelRequest.Operation.allCases {
            for status: UInt16 in [200, 201, 204, 410] where status != operation.successStatus {
                guard case .refused = response(status, to: operation).disposition else {
                    Issue.record("\(operation) \(status)")
                    continue
                }
            }
        }
    }

    @Test func `a list of the maximum number of channels is parsed`() {
        let ids = (0..<APNSLimits.channelsMax).map { "channel\($0)" }
        let body = "{\"channels\":[" + ids.map { "\"\($0)\"" }.joined(separator: ",") + "]}"
        #expect(body.utf8.count < ChannelResponse.bodyBytesMax)
        #expect(response(200, body, to: .list).disposition == .listed(ids.compactMap { ChannelID($0) }, unreadable: 0))
    }
}
