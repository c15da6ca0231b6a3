import APNSWire
import PushAccept
import PushModel
import Testing

@Suite struct `The push parser` {
    private static let token = String(repeating: "0aB1", count: 16)
    private static let ownID = "0193f1c2-7a5e-7c3d-8f00-1a2b3c4d0000"

    private static func parse(_ json: String, apps: AppDirectory = TestGateway.oneApp) -> PushParser.Result {
        var parser = PushParser(apps: apps, defaultLane: .normal)
        return Array(json.utf8).withUnsafeBytes { parser.parse($0, now: TestGateway.now) }
    }

    private static func columns(_ json: String) -> (token: [UInt8], payload: String, headers: NotificationHeaders)? {
        var parser = PushParser(apps: TestGateway.oneApp, defaultLane: .normal)
        return Array(json.utf8).withUnsafeBytes { bytes in
            guard case .push(let push) = parser.parse(bytes, now: TestGateway.now) else { return nil }
            return parser.withColumns(of: push, in: bytes) {
                (Array($0), String(decoding: $1, as: UTF8.self), parser.headers(of: push))
            }
        }
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        var json: String
        var code: ErrorCode
        var field: String?
        var testDescription: String { "\(code.entry.name) \(field ?? ""): \(json.prefix(60))" }

        init(_ json: String, _ code: ErrorCode, _ field: String? = nil) {
            self.json = json.replacing("TOKEN", with: token)
            self.code = code
            self.field = field
        }
    }

    static let bad: [Bad] = [
        Bad("", .invalidJSON), Bad("   ", .invalidJSON), Bad("{", .invalidJSON), Bad("{]", .invalidJSON),
        Bad("nul", .wrongType), Bad("x", .invalidJSON), Bad("[]", .wrongType), Bad("\"text\"", .wrongType),
        Bad("12", .wrongType),
        Bad(#"{"device_token":"TOKEN","payload":{}}x"#, .invalidJSON),
        Bad(#"{"device_token":"TOKEN","payload":{},}"#, .invalidJSON),
        Bad(#"{"device_token":"TOKEN","payload":{"a":01}}"#, .invalidJSON),
        Bad(#"{"device_token":"TOKEN","payload":{"a":"\#u{1}"}}"#, .invalidJSON),
        Bad("{}", .missingField, "device_token"),
        Bad(#"{"payload":{}}"#, .missingField, "device_token"),
        Bad(#"{"device_token":"TOKEN"}"#, .missingField, "payload"),
        Bad(#"{"device_token":12,"payload":{}}"#, .wrongType, "device_token"),
        Bad(#"{"device_token":null,"payload":{}}"#, .missingField, "device_token"),
        Bad(#"{"device_token":"TOKEN","message":null}"#, .missingField, "payload"),
        Bad(#"{"device_token":"TOKEN","payload":{},"badge":null}"#, .unknownField, "badge"),
        Bad(#"{"device_token":"","payload":{}}"#, .malformedToken, "device_token"),
        Bad(#"{"device_token":"abc","payload":{}}"#, .malformedToken, "device_token"),
        Bad(#"{"device_token":"zz","payload":{}}"#, .malformedToken, "device_token"),
        Bad(#"{"device_id":"xyzz","payload":{}}"#, .malformedToken, "device_id"),
        Bad(
            #"{"device_token":"\#(String(repeating: "ab", count: 256))","payload":{}}"#, .malformedToken, "device_token"
        ),
        Bad(#"{"device_token":"TOKEN","device_token":"TOKEN","payload":{}}"#, .badField, "device_token"),
        Bad(#"{"device_token":"TOKEN","device_id":"TOKEN","payload":{}}"#, .badField, "device_id"),
        Bad(#"{"device_token":"TOKEN","payload":{},"message":"x"}"#, .badField, "message"),
        Bad(#"{"device_token":"TOKEN","payload":{},"priority":5,"priority":5}"#, .badField, "priority"),
        Bad(#"{"device_token":"TOKEN","payload":[]}"#, .wrongType, "payload"),
        Bad(#"{"device_token":"TOKEN","payload":1}"#, .wrongType, "payload"),
        Bad(#"{"device_token":"TOKEN","payload":"hello"}"#, .payloadInvalid, "payload"),
        Bad(#"{"device_token":"TOKEN","payload":"[1]"}"#, .payloadInvalid, "payload"),
        Bad(#"{"device_token":"TOKEN","payload":"{} {}"}"#, .payloadInvalid, "payload"),
        Bad(#"{"device_token":"TOKEN","payload":""}"#, .payloadInvalid, "payload"),
        Bad(#"{"device_token":"TOKEN","message":7}"#, .wrongType, "message"),
        Bad(#"{"device_token":"TOKEN","message":{"aps":{"alert":"x"}}}"#, .wrongType, "message"),
        Bad(#"{"device_token":"TOKEN","payload":{},"apns_id":"\#(ownID)"}"#, .unknownField, "apns_id"),
        Bad(#"{"device_token":"TOKEN","payload":{},"ttl":-1}"#, .badField, "ttl"),
        Bad(#"{"device_token":"TOKEN","payload":{},"ttl":31622401}"#, .badField, "ttl"),
        Bad(#"{"device_token":"TOKEN","payload":{},"ttl":"60"}"#, .wrongType, "ttl"),
        Bad(#"{"device_token":"TOKEN","payload":{},"ttl":60,"expiration":1900000000}"#, .badField, "expiration"),
        Bad(#"{"device_token":"TOKEN","payload":{},"expiration":1}"#, .badField, "expiration"),
        Bad(#"{"device_tokens":[],"payload":{}}"#, .badField, "device_tokens"),
        Bad(#"{"device_tokens":"TOKEN","payload":{}}"#, .wrongType, "device_tokens"),
        Bad(#"{"device_tokens":["TOKEN",1],"payload":{}}"#, .wrongType, "device_tokens"),
        Bad(#"{"device_tokens":["TOKEN"],"device_token":"TOKEN","payload":{}}"#, .badField, "device_token"),
        Bad(#"{"device_tokens":["TOKEN",],"payload":{}}"#, .invalidJSON),
        Bad(
            #"{"device_tokens":[\#([String](repeating: "\"ab\"", count: 1001).joined(separator: ","))],"payload":{}}"#,
            .badField, "device_tokens"),
        Bad(
            #"{"device_token":"TOKEN","payload":{},"push_type":"background","priority":10}"#, .pushInvalid, "priority"),
        Bad(
            #"{"device_token":"TOKEN","payload":{},"push_type":"voip","topic":"com.example.app"}"#, .pushInvalid,
            "topic"),
        Bad(#"{"device_token":"TOKEN","payload":{},"badge":1}"#, .unknownField, "badge"),
        Bad(#"{"device_token":"TOKEN","payload":{},"Topic":"a"}"#, .unknownField, "Topic"),
        Bad(#"{"device_token":"TOKEN","payload":{},"app":"none"}"#, .unknownApp, "app"),
        Bad(#"{"device_token":"TOKEN","payload":{},"app":1}"#, .wrongType, "app"),
        Bad(#"{"device_token":"TOKEN","payload":{},"environment":"Sandbox"}"#, .badField, "environment"),
        Bad(#"{"device_token":"TOKEN","payload":{},"environment":1}"#, .wrongType, "environment"),
        Bad(#"{"environment":"sandbox","device_token":"TOKEN","payload":{}}"#, .badField, "environment"),
        Bad(
            #"{"environment":"production","environment":"production","device_token":"TOKEN","payload":{}}"#, .badField,
            "environment"),
        Bad(#"{"device_token":"TOKEN","payload":{},"push_type":"Alert"}"#, .badField, "push_type"),
        Bad(#"{"device_token":"TOKEN","payload":{},"push_type":true}"#, .wrongType, "push_type"),
        Bad(#"{"device_token":"TOKEN","payload":{},"priority":"10"}"#, .wrongType, "priority"),
        Bad(#"{"device_token":"TOKEN","payload":{},"priority":9}"#, .badField, "priority"),
        Bad(#"{"device_token":"TOKEN","payload":{},"priority":266}"#, .badField, "priority"),
        Bad(#"{"device_token":"TOKEN","payload":{},"priority":5.0}"#, .wrongType, "priority"),
        Bad(#"{"device_token":"TOKEN","payload":{},"expiration":-1}"#, .badField, "expiration"),
        Bad(#"{"device_token":"TOKEN","payload":{},"expiration":99999999999999}"#, .badField, "expiration"),
        Bad(#"{"device_token":"TOKEN","payload":{},"expiration":99999999999999999999}"#, .wrongType, "expiration"),
        Bad(#"{"device_token":"TOKEN","payload":{},"expiration":100,"not_before":100}"#, .badField, "expiration"),
        Bad(#"{"device_token":"TOKEN","payload":{},"not_before":"soon"}"#, .wrongType, "not_before"),
        Bad(#"{"device_token":"TOKEN","payload":{},"timestamp":-5}"#, .badField, "timestamp"),
        Bad(#"{"device_token":"TOKEN","payload":{},"timestamp":1.5}"#, .wrongType, "timestamp"),
        Bad(#"{"device_token":"TOKEN","payload":{},"collapse_id":""}"#, .badField, "collapse_id"),
        Bad(#"{"device_token":"TOKEN","payload":{},"collapse_id":"a\r\nb"}"#, .badField, "collapse_id"),
        Bad(#"{"device_token":"TOKEN","payload":{},"collapse_id":" a"}"#, .badField, "collapse_id"),
        Bad(
            #"{"device_token":"TOKEN","payload":{},"collapse_id":"\#(String(repeating: "x", count: 65))"}"#, .badField,
            "collapse_id"),
        Bad(#"{"device_token":"TOKEN","payload":{},"topic":""}"#, .badField, "topic"),
        Bad(#"{"device_token":"TOKEN","payload":{},"topic":"a b"}"#, .badField, "topic"),
        Bad(#"{"device_token":"TOKEN","payload":{},"lane":"fast"}"#, .badField, "lane"),
        Bad(#"{"device_token":"TOKEN","payload":{},"on_unanswered":"retry"}"#, .badField, "on_unanswered"),
        Bad(#"{"device_token":"TOKEN","payload":{},"on_unanswered":1}"#, .wrongType, "on_unanswered"),
        Bad(
            #"{"device_token":"TOKEN","payload":{"a":"\#(String(repeating: "x", count: 4089))"}}"#, .payloadTooLarge,
            "payload"),
        Bad(
            #"{"push_type":"voip","device_token":"TOKEN","payload":{"a":"\#(String(repeating: "x", count: 5113))"}}"#,
            .payloadTooLarge, "payload"
        ),
    ]

    @Test(arguments: bad)
    func `invalid input is refused with code and field`(_ input: Bad) {
        guard case .refused(let refusal) = Self.parse(input.json) else {
            Issue.record("the input was accepted")
            return
        }
        #expect(refusal.code == input.code, "\(refusal.text)")
        #expect(refusal.fieldName == input.field, "\(refusal.text)")
        #expect(!refusal.text.contains(Self.token))
    }

    @Test func `a payload that is too large is refused with its size and the limit`() {
        let json = #"{"device_token":"ab","payload":{"a":"\#(String(repeating: "x", count: 5000))"}}"#
        guard case .refused(let refusal) = Self.parse(json) else { return #expect(Bool(false)) }
        #expect(refusal.text == "payload: the payload of a push of type alert has 5008 bytes, at most 4096 are allowed")
    }

    @Test func `a payload may be as large as APNs accepts, and larger for voip`() {
        let largest = #"{"device_token":"ab","payload":{"a":"\#(String(repeating: "x", count: 4088))"}}"#
        #expect(Self.columns(largest)?.payload.utf8.count == 4096)
        let voip =
            #"{"device_token":"ab","payload":{"a":"\#(String(repeating: "x", count: 5112))"},"push_type":"voip"}"#
        #expect(Self.columns(voip)?.payload.utf8.count == 5120)
    }

    @Test func `every field is parsed`() {
        let json = """
             {"app" : "demo", "push_type":"liveactivity","topic":"com.example.x.push-type.liveactivity","priority":10,"expiration":0,
             "collapse_id":"score 7","not_before":1800000000,"lane":"urgent","timestamp":1712000000,
             "on_unanswered":"drop","device_id":"\(Self.token)","payload": { "aps" : {} } }\r
            """
        guard case .push(let push) = Self.parse(json) else { return #expect(Bool(false)) }
        #expect(push.pushType == .liveactivity)
        #expect(push.priority == .immediate)
        #expect(push.expiration == 0)
        #expect(push.notBefore == 1_800_000_000)
        #expect(push.lane == .urgent)
        #expect(push.ambiguity == .drop)
        let columns = Self.columns(json)
        #expect(columns?.payload == #"{ "aps" : {} }"#)
        #expect(columns?.token == Array(repeating: [0x0A, 0xB1], count: 16).flatMap { $0 })
        #expect(
            columns?.headers
                == NotificationHeaders(
                    topic: "com.example.x.push-type.liveactivity", pushType: .liveactivity, priority: .immediate,
                    collapseID: "score 7"
                )
        )
    }

    @Test func `defaults depend on the push type`() {
        func parsed(_ type: String) -> ParsedPush? {
            guard case .push(let push) = Self.parse(#"{"device_token":"ab","payload":{},"push_type":"\#(type)"}"#)
            else {
                return nil
            }
            return push
        }
        #expect(parsed("alert")?.priority == nil)
        #expect(parsed("alert")?.lane == .normal)
        #expect(parsed("alert")?.ambiguity == .resend)
        #expect(parsed("alert")?.expiration == NotificationBatch.noExpiration)
        #expect(parsed("background")?.priority == .conserving)
        for call in ["voip", "pushtotalk"] {
            #expect(parsed(call)?.lane == .urgent)
            #expect(parsed(call)?.expiration == 0, "APNs does not store a call")
        }
        let dated = #"{"device_token":"ab","payload":{},"push_type":"voip","expiration":1900000000}"#
        guard case .push(let lasting) = Self.parse(dated) else { return #expect(Bool(false)) }
        #expect(lasting.expiration == 1_900_000_000)
        #expect(
            Self.columns(#"{"device_token":"ab","payload":{},"push_type":"voip"}"#)?.headers.topic
                == "com.example.app.voip"
        )
        let bulk = #"{"device_token":"ab","payload":{},"push_type":"voip","lane":"bulk"}"#
        guard case .push(let push) = Self.parse(bulk) else { return #expect(Bool(false)) }
        #expect(push.lane == .bulk)
    }

    @Test func `a payload in a string is unescaped`() {
        #expect(
            Self.columns(#"{"device_token":"ab","payload":" {\"a\":\"\\u00e9\"} "}"#)?.payload == #"{"a":"\u00e9"}"#)
    }

    @Test func `a message of plain text becomes an alert`() {
        #expect(
            Self.columns(#"{"device_token":"ab","message":"say \"hi\" \u2603"}"#)?.payload
                == #"{"aps":{"alert":"say \"hi\" \u2603"}}"#
        )
        for text in ["{oops", #"{\"a\":1}"#, "", "[]"] {
            #expect(
                Self.columns(#"{"device_token":"ab","message":"\#(text)"}"#)?.payload
                    == #"{"aps":{"alert":"\#(text)"}}"#)
        }
    }

    @Test(arguments: [
        ("device_tokn", "device_token"), ("token", "device_token"), ("DeviceToken", "device_token"),
        ("tokens", "device_tokens"), ("pushType", "push_type"), ("collapse_key", "collapse_id"), ("TTL", "ttl"),
        ("expires", "expiration"), ("time_to_live", "ttl"), ("notbefore", "not_before"),
    ])
    func `an unknown field gets the name that was meant`(name: String, meant: String) {
        guard case .refused(let refusal) = Self.parse(#"{"\#(name)":1}"#) else { return #expect(Bool(false)) }
        #expect(refusal.code == .unknownField)
        #expect(refusal.text == "\(name): there is no such field; did you mean \(meant)?")
    }

    @Test func `an own ID and a bare payload are refused with what to do`() {
        for (name, part) in [("apns_id", "Idempotency-Key"), ("aps", "in the payload"), ("x", "custom data")] {
            guard case .refused(let refusal) = Self.parse(#"{"\#(name)":1}"#) else { return #expect(Bool(false)) }
            #expect(refusal.text.contains(part), "\(refusal.text)")
        }
    }

    @Test func `null counts as absent`() {
        let json = #"""
            {"device_token":"ab","device_tokens":null,"payload":{},"message":null,"priority":null,"expiration":null,
            "ttl":null,"topic":null,"app":null,"environment":null,"push_type":null,"collapse_id":null,"lane":null,
            "not_before":null,"on_unanswered":null,"timestamp":null,"device_id":null}
            """#
        #expect(Self.parse(json).isPush)
        guard case .push(let push) = Self.parse(json),
            case .push(let bare) = Self.parse(#"{"device_token":"ab","payload":{}}"#)
        else { return #expect(Bool(false)) }
        #expect(push.priority == nil && push.expiration == bare.expiration && push.lane == bare.lane)
    }

    @Test func `a ttl counts from the time when the push is due`() {
        func expiration(_ fields: String) -> Int64? {
            guard case .push(let push) = Self.parse(#"{"device_token":"ab","payload":{},\#(fields)}"#) else {
                return nil
            }
            return push.expiration
        }
        let now = TestGateway.now.seconds
        #expect(expiration(#""ttl":60"#) == now + 60)
        #expect(expiration(#""ttl":0"#) == 0)
        #expect(expiration(#""ttl":60,"not_before":\#(now + 1000)"#) == now + 1060)
        #expect(expiration(#""not_before":1,"ttl":60"#) == now + 60)
        #expect(expiration(#""push_type":"voip","ttl":30"#) == now + 30)
        #expect(expiration(#""expiration":\#(now)"#) == nil)
        #expect(expiration(#""expiration":\#(now + 1)"#) == now + 1)
    }

    @Test(arguments: [1, 32, 80, 128, 255])
    func `tokens of any length pass`(bytes: Int) {
        let hex = String(repeating: "fE", count: bytes)
        #expect(
            Self.columns(#"{"device_token":"\#(hex)","payload":{}}"#)?.token == [UInt8](repeating: 0xFE, count: bytes))
    }

    @Test func `names and values may have escapes`() {
        #expect(Self.columns(#"{"device\u005ftoken":"\u0061b","payload":{}}"#)?.token == [0xAB])
    }

    @Test func `a push must name one of several apps`() {
        let nameless = #"{"device_token":"ab","payload":{}}"#
        guard case .refused(let refusal) = Self.parse(nameless, apps: TestGateway.twoApps) else {
            return #expect(Bool(false))
        }
        #expect(refusal.code == .missingField)
        #expect(refusal.fieldName == "app")
        guard
            case .push(let push) = Self.parse(
                #"{"device_token":"ab","payload":{},"app":"other"}"#, apps: TestGateway.twoApps)
        else { return #expect(Bool(false)) }
        #expect(push.app == 1)
    }

    @Test func `a push names an environment of its app, or gets the first one`() {
        func environment(_ fields: String) -> APNSEnvironment? {
            let json = #"{"device_token":"ab","payload":{}\#(fields)}"#
            guard case .push(let push) = Self.parse(json, apps: TestGateway.twoEnvironments) else { return nil }
            return push.environment
        }
        #expect(environment("") == .sandbox)
        #expect(environment(#","environment":"sandbox""#) == .sandbox)
        #expect(environment(#","environment":"production""#) == .production)
        #expect(environment(#","environment":"production","app":"demo""#) == .production)
    }

    @Test func `an environment that the app does not have is refused with what to do`() {
        let json = #"{"environment":"sandbox","device_token":"ab","payload":{}}"#
        guard case .refused(let refusal) = Self.parse(json) else { return #expect(Bool(false)) }
        #expect(
            refusal.text
                == "environment: the app has no environment sandbox; add it to environments in the app's configuration")
    }

    @Test func `a not_before that has passed means immediately`() {
        func push(_ seconds: Int64) -> ParsedPush? {
            let json = #"{"device_token":"ab","payload":{},"not_before":\#(seconds)}"#
            guard case .push(let push) = Self.parse(json) else { return nil }
            return push
        }
        let immediate = push(0)
        #expect(immediate?.notBefore == 0 && immediate?.dueWindow == 0)
        for seconds in [1, TestGateway.now.seconds - 1, TestGateway.now.seconds] { #expect(push(seconds) == immediate) }
        #expect(push(TestGateway.now.seconds + 1)?.notBefore == TestGateway.now.seconds + 1)
    }

    @Test func `due times of one window are close to each other`() throws {
        let now = TestGateway.now.seconds
        var windows: [Int64: ClosedRange<Int64>] = [:]
        for left: Int64 in 1...50_400 {
            let json = #"{"device_token":"ab","payload":{},"not_before":\#(now + left)}"#
            guard case .push(let push) = Self.parse(json) else { return #expect(Bool(false)) }
            let window = windows[push.dueWindow]
            windows[push.dueWindow] = (window?.lowerBound ?? left)...left
        }
        for window in windows.values {
            #expect(window.upperBound - window.lowerBound < max(30, window.upperBound / 32), "\(window)")
        }
        #expect(windows.count < 230, "\(windows.count)")
    }

    @Test func `the name of an unknown field is truncated`() {
        guard case .refused(let refusal) = Self.parse(#"{"\#(String(repeating: "é", count: 500))":1}"#) else {
            return #expect(Bool(false))
        }
        #expect(refusal.fieldName?.utf8.count == 64)
    }
}

extension PushParser.Result {
    fileprivate var isPush: Bool {
        if case .push = self { true } else { false }
    }
}
