import APNSWire

extension LintCase {
    private static func activity(_ members: String) -> LintPush { LintPush(.liveactivity, "{\"aps\":{\(members)}}") }

    private static func start(without member: String) -> LintPush {
        LintPush(.liveactivity, LintPush.start.replacing(member, with: ""))
    }

    private static func start(with members: String) -> LintPush {
        LintPush(.liveactivity, LintPush.start.replacing("\"event\"", with: "\(members),\"event\""))
    }

    private static func sized(_ type: PushType, _ count: Int) -> LintPush {
        LintPush(type) { $0.payload += Array(repeating: 0x20, count: count - $0.payload.count) }
    }

    static let bodies = [
        LintCase(.payloadEmpty, .error, alert(""), LintPush(.alert)),
        LintCase(.payloadTooLarge, .error, sized(.alert, 4097), sized(.alert, 4096)),
        LintCase(.payloadTooLarge, .error, sized(.voip, 5121), sized(.voip, 5120)),
        LintCase(
            .payloadTooLarge, .error, .channel { $0.payload += Array(repeating: 0x20, count: 5121 - $0.payload.count) },
            .channel { $0.payload += Array(repeating: 0x20, count: 5120 - $0.payload.count) }
        ),
        LintCase(.payloadNotJSON, .error, alert("{'aps':1}"), LintPush(.alert)),
        LintCase(.payloadNotJSON, .error, alert(LintPush.sample(.alert) + "x"), alert(LintPush.sample(.alert) + "\n")),
        LintCase(.payloadNotObject, .error, alert("[{}]"), LintPush(.alert)),
        LintCase(.apsMissing, .error, alert(#"{"a":1}"#), alert(#"{"aps":{"alert":"x"}}"#)),
        // The push for a Wallet pass has an empty payload.
        LintCase(.apsMissing, .error, alert("{}"), LintPush(.alert, "{}") { $0.topic = "pass.com.example.card" }),
        LintCase(.apsMissing, .error, LintPush(.liveactivity, "{}"), LintPush(.location, "{}")),
        LintCase(.apsNotObject, .error, alert(#"{"aps":"hello"}"#), LintPush(.alert)),
        LintCase(
            .apsKeyOutside, .warning, LintPush(.voip, #"{"aps":{},"content-available":1}"#),
            LintPush(.voip, #"{"aps":{},"event":"ring","category":3}"#)
        ),
        LintCase(
            .apsKeyOutside, .warning, alert(#"{"aps":{"alert":"x"},"badge":1}"#), aps(#""badge":1},"own":{"badge":1"#)),
        LintCase(.apsKeyTwice, .warning, aps(#""badge":1,"badge":2"#), aps(#""badge":1"#)),
        LintCase(.apsKeyTwice, .warning, alert(#"{"aps":{"alert":"x"},"aps":{}}"#), LintPush(.alert)),
        LintCase(.keyMisspelt, .warning, aps(#""badgeCount":1,"badges":1"#), aps(#""badgeCount":1"#)),
        LintCase(.keyMisspelt, .warning, aps(#""threadId":"t""#), aps(#""thread-id":"t""#)),
        LintCase(.keyMisspelt, .warning, aps(#""mutable_content":1"#), aps(#""own-content":1"#)),
        LintCase(.keyMisspelt, .warning, aps(#""souDn":"x""#), aps(#""sounds-good":"x""#)),
        LintCase(
            .keyMisspelt, .warning, alert(#"{"aps":{"alert":{"body":"x","titel":"y"}}}"#),
            alert(#"{"aps":{"alert":{"body":"x","\u0074itle":"y"}}}"#)
        ),
        LintCase(
            .keyMisspelt, .warning, alert(#"{"aps":{"alert":"x"},"APS":{}}"#), alert(#"{"aps":{"alert":"x"},"ap":1}"#)),
        LintCase(.alertWithoutContent, .warning, alert(#"{"aps":{"thread-id":"t"}}"#), alert(#"{"aps":{"badge":0}}"#)),
        LintCase(
            .backgroundVisible, .error, LintPush(.background, #"{"aps":{"content-available":1,"sound":""}}"#),
            LintPush(.background, #"{"aps":{"content-available":1,"category":"c"}}"#)
        ),
        LintCase(
            .backgroundContentAvailable, .warning, LintPush(.background, #"{"aps":{},"a":1}"#), LintPush(.background)),
        LintCase(.contentChanged, .warning, LintPush(.widgets, #"{"aps":{}}"#), LintPush(.widgets)),
        LintCase(
            .contentChanged, .warning, LintPush(.controls, #"{"aps":{"content-changed":1}}"#), LintPush(.controls)),
        LintCase(.mdmPayload, .error, LintPush(.mdm, #"{"aps":{}}"#), LintPush(.mdm)),
        LintCase(.mdmPayload, .warning, LintPush(.mdm, #"{"mdm":"x","aps":{}}"#), LintPush(.mdm)),
        LintCase(.mdmPayload, .error, LintPush(.mdm, #"{"mdm":1}"#), LintPush(.mdm)),
        LintCase(.fileProviderPayload, .warning, LintPush(.fileprovider, #"{"domain":"d"}"#), LintPush(.fileprovider)),
    ]

    static let activities = [
        LintCase(
            .liveActivityEvent, .error, activity(#""timestamp":1,"content-state":{}"#), LintPush(.liveactivity)),
        LintCase(
            .liveActivityEvent, .error, activity(#""timestamp":1,"event":"begin","content-state":{}"#),
            LintPush(.liveactivity)
        ),
        LintCase(
            .liveActivityTimestamp, .error, activity(#""event":"update","content-state":{}"#), LintPush(.liveactivity)),
        LintCase(
            .liveActivityContentState, .error, activity(#""event":"update","timestamp":1"#), LintPush(.liveactivity)),
        LintCase(
            .liveActivityContentState, .warning, activity(#""event":"end","timestamp":1"#),
            activity(#""event":"end","timestamp":1,"content-state":{}"#)
        ),
        LintCase(
            .liveActivityAttributesType, .error, start(without: #""attributes-type":"Match","#),
            LintPush(.liveactivity, LintPush.start)
        ),
        LintCase(
            .liveActivityAttributes, .error, start(without: #""attributes":{"home":"A"},"#),
            start(with: #""input-push-token":1"#)
        ),
        LintCase(
            .liveActivityAlert, .error,
            start(without: #","alert":{"title":{"loc-key":"T","loc-args":["A"]},"body":"Go","sound":"bell.caf"}"#),
            start(with: #""input-push-channel":"dHN0""#)
        ),
        LintCase(
            .liveActivitySound, .warning,
            activity(#""event":"update","timestamp":1,"content-state":{},"alert":"x","sound":"default""#),
            activity(#""event":"update","timestamp":1,"content-state":{},"alert":{"body":"x","sound":"default"}"#)
        ),
        LintCase(
            .liveActivityStartOnly, .warning,
            activity(#""event":"update","timestamp":1,"content-state":{},"attributes":{}"#), LintPush(.liveactivity)),
        LintCase(
            .liveActivityInput, .warning, start(with: #""input-push-token":true"#),
            start(with: #""input-push-token":1"#)),
        LintCase(
            .liveActivityInput, .warning, start(with: #""input-push-token":1,"input-push-channel":"dHN0""#),
            start(with: #""input-push-channel":"dHN0""#)
        ),
        LintCase(
            .liveActivityInput, .warning, start(with: #""input-push-channel":"a b""#),
            start(with: #""input-push-channel":"ab==""#)
        ),
        LintCase(
            .dismissalWithoutEnd, .warning,
            activity(#""event":"update","timestamp":1,"content-state":{},"dismissal-date":9"#),
            activity(#""event":"end","timestamp":1,"content-state":{},"dismissal-date":9"#)
        ),
        LintCase(
            .timeMilliseconds, .warning, activity(#""event":"update","timestamp":1700000000000,"content-state":{}"#),
            LintPush(.liveactivity)
        ),
        LintCase(
            .timeFraction, .warning,
            activity(#""event":"update","timestamp":1,"stale-date":1700000000.5,"content-state":{}"#),
            activity(#""event":"update","timestamp":1,"stale-date":1700000000,"content-state":{}"#)
        ),
        LintCase(
            .broadcastEvent, .error, .channel(nil, LintPush.start),
            .channel(nil, #"{"aps":{"timestamp":1,"event":"end","content-state":{}}}"#)
        ),
        LintCase(
            .keyMisspelt, .warning,
            activity(#""events":"x","event":"update","timestamp":1,"content-state":{}"#), LintPush(.liveactivity)),
    ]

    static let values = [
        LintCase(
            .interruptionLevel, .warning, aps(#""interruption-level":"urgent""#),
            aps(#""interruption-level":"passive""#)),
        LintCase(
            .interruptionLevel, .warning, aps(#""interruption-level":"timeSensitive""#),
            aps(#""interruption-level":"time-sensitive""#)
        ),
        LintCase(.relevanceScore, .warning, aps(#""relevance-score":1.1"#), aps(#""relevance-score":1"#)),
        LintCase(
            .relevanceScore, .warning, aps(#""relevance-score":"1""#),
            activity(#""event":"update","timestamp":1,"content-state":{},"relevance-score":100"#)
        ),
        LintCase(.badge, .warning, aps(#""badge":"1""#), aps(#""badge":1"#)),
        LintCase(.badge, .warning, aps(#""badge":-1"#), aps(#""badge":0"#)),
        LintCase(.badge, .warning, aps(#""badge":1.5"#), aps(#""badge":12"#)),
        LintCase(.contentAvailable, .warning, aps(#""content-available":true"#), aps(#""content-available":1"#)),
        LintCase(.contentAvailable, .warning, aps(#""content-available":0"#), aps(#""content-available":1"#)),
        LintCase(.mutableContent, .warning, aps(#""mutable-content":"1""#), aps(#""mutable-content":1"#)),
        LintCase(
            .criticalSound, .warning, aps(#""sound":{"critical":0,"name":"a"}"#),
            aps(#""sound":{"critical":1,"name":"a"}"#)
        ),
        LintCase(
            .criticalSound, .warning, aps(#""sound":{"critical":1,"volume":1}"#),
            aps(#""sound":{"critical":1,"name":"default","volume":1}"#)
        ),
        LintCase(
            .criticalVolume, .warning, aps(#""sound":{"critical":1,"name":"a","volume":1.01}"#),
            aps(#""sound":{"critical":1,"name":"a","volume":0.0}"#)
        ),
        LintCase(
            .criticalVolume, .warning,
            activity(
                #""event":"update","timestamp":1,"content-state":{},"alert":{"body":"x","sound":{"critical":1,"name":"a","volume":-1}}"#
            ),
            activity(
                #""event":"update","timestamp":1,"content-state":{},"alert":{"body":"x","sound":{"critical":1,"name":"a","volume":1}}"#
            )
        ),
        LintCase(
            .pttPushType, .warning, LintPush(.pushtotalk, #"{"aps":{"ptt-push-type":"x"}}"#),
            LintPush(.pushtotalk, #"{"aps":{"ptt-push-type":"service-update"}}"#)
        ),
        LintCase(.valueType, .warning, alert(#"{"aps":{"alert":7}}"#), alert(#"{"aps":{"alert":{"body":"x"}}}"#)),
        LintCase(.valueType, .warning, aps(#""sound":1"#), aps(#""sound":"x""#)),
        LintCase(.valueType, .warning, aps(#""category":1"#), aps(#""category":"c""#)),
        LintCase(.valueType, .warning, aps(#""url-args":"x""#), aps(#""url-args":["x"]"#)),
        LintCase(
            .valueType, .warning, activity(#""event":"update","timestamp":"1","content-state":{}"#),
            LintPush(.liveactivity)
        ),
        LintCase(
            .valueType, .warning, activity(#""event":"update","timestamp":1,"content-state":"{}""#),
            LintPush(.liveactivity)
        ),
        LintCase(
            .valueType, .warning, alert(#"{"aps":{"alert":{"body":7}}}"#), alert(#"{"aps":{"alert":{"body":"7"}}}"#)),
        LintCase(
            .valueType, .warning, alert(#"{"aps":{"alert":{"title":{"loc-key":"T"}}}}"#),
            alert(#"{"aps":{"alert":{"title-loc-key":"T"}}}"#)
        ),
        LintCase(
            .valueType, .warning, alert(#"{"aps":{"alert":{"loc-key":"T","loc-args":"x"}}}"#),
            alert(#"{"aps":{"alert":{"loc-key":"T","loc-args":["x"]}}}"#)
        ),
        LintCase(
            .valueType, .warning, alert(#"{"aps":{"alert":{"body":"x","sound":"default"}}}"#),
            alert(#"{"aps":{"alert":{"body":"x"},"sound":"default"}}"#)
        ),
        LintCase(
            .valueType, .warning, alert(#"{"aps":{"alert":{"body":"x","summary-arg-count":"2"}}}"#),
            alert(#"{"aps":{"alert":{"body":"x","summary-arg-count":2,"summary-arg":"a"}}}"#)
        ),
    ]
}
