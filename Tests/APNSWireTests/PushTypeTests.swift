import APNSWire
import Testing

@Suite struct `Push types` {
    struct Row: Sendable {
        var type: PushType
        var stored: UInt8
        var topic: String
        var sizeMax = 4096
        var priorities: [Priority] = [.immediate, .conserving, .low]
        var standard = Priority.immediate
        var authentication = PushType.AuthenticationRule.any
        var shape = PushType.PayloadShape.free
    }

    /// The documented rules; each property of `PushType` cites its source.
    static let rows = [
        Row(type: .alert, stored: 0, topic: "com.example.app", shape: .visible),
        Row(
            type: .background, stored: 1, topic: "com.example.app", priorities: [.conserving, .low],
            standard: .conserving, shape: .silent
        ),
        Row(type: .voip, stored: 2, topic: "com.example.app.voip", sizeMax: 5120, priorities: [.immediate]),
        Row(type: .complication, stored: 3, topic: "com.example.app.complication"),
        Row(
            type: .fileprovider, stored: 4, topic: "com.example.app.pushkit.fileprovider",
            authentication: .providerToken, shape: .fileProvider
        ),
        Row(type: .mdm, stored: 5, topic: "com.example.app", authentication: .certificate, shape: .mdm),
        Row(
            type: .location, stored: 6, topic: "com.example.app.location-query",
            priorities: [.immediate, .conserving], authentication: .providerToken
        ),
        Row(
            type: .liveactivity, stored: 7, topic: "com.example.app.push-type.liveactivity",
            priorities: [.immediate, .conserving], authentication: .providerToken, shape: .liveActivity
        ),
        Row(type: .pushtotalk, stored: 8, topic: "com.example.app.voip-ptt", priorities: [.immediate]),
        Row(type: .controls, stored: 9, topic: "com.example.app.push-type.controls", shape: .contentChanged),
        Row(type: .widgets, stored: 10, topic: "com.example.app.push-type.widgets", shape: .contentChanged),
    ]

    @Test(arguments: rows)
    func `each type has its rules`(row: Row) {
        #expect(row.type.rawValue == row.stored)
        #expect(row.type.topic(for: "com.example.app") == row.topic)
        #expect(row.type.payloadBytesMax == row.sizeMax)
        #expect(row.type.priorities == row.priorities)
        #expect(row.type.defaultPriority == row.standard)
        #expect(row.type.authenticationRule == row.authentication)
        #expect(row.type.payloadShape == row.shape)
    }

    @Test func `the table contains every type exactly once`() {
        #expect(Self.rows.map(\.type) == PushType.allCases)
    }

    @Test func `the default priority is listed, and only 10 for a background push is refused`() {
        for type in PushType.allCases {
            #expect(type.priorities.contains(type.defaultPriority))
            for priority in Priority.allCases {
                #expect(type.refuses(priority) == (type == .background && priority == .immediate))
            }
        }
    }

    @Test func `the limits are the documented ones`() {
        #expect(APNSLimits.collapseIDBytesMax == 64)
        #expect(APNSLimits.broadcastPayloadBytesMax == 5120)
        #expect(APNSLimits.channelsMax == 10_000)
        #expect(APNSLimits.storageSecondsMax == 2_592_000)
        #expect(APNSLimits.channelStorageSecondsMax == 28_800)
    }

    @Test func `each environment has its hosts and ports`() {
        let sandbox = APNSEnvironment.sandbox
        let production = APNSEnvironment.production
        #expect(sandbox.host == "api.sandbox.push.apple.com")
        #expect(production.host == "api.push.apple.com")
        #expect(sandbox.channelManagementHost == "api-manage-broadcast.sandbox.push.apple.com")
        #expect(production.channelManagementHost == "api-manage-broadcast.push.apple.com")
        #expect(sandbox.channelManagementPort == 2195)
        #expect(production.channelManagementPort == 2196)
        #expect([APNSEnvironment.port, APNSEnvironment.alternativePort] == [443, 2197])
    }
}
