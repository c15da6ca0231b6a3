import APNSWire
import Foundation
import Testing

@Suite struct `Reasons` {
    struct Row: Sendable {
        var status: UInt16
        var reason: String
        var number: UInt8
        var retry: ReasonAdvice.Retry
        var fault: ReasonAdvice.Fault
        var isTokenInvalid = false
        var delay = 0
        var service = APNSReason.Service.both

        init(
            _ status: UInt16, _ reason: String, _ number: UInt8, _ retry: ReasonAdvice.Retry,
            _ fault: ReasonAdvice.Fault,
            isTokenInvalid: Bool = false, delay: Int = 0, _ service: APNSReason.Service = .both
        ) {
            self.status = status
            self.reason = reason
            self.number = number
            self.retry = retry
            self.fault = fault
            self.isTokenInvalid = isTokenInvalid
            self.delay = delay
            self.service = service
        }
    }

    /// The tables of Apple's pages "Handling notification responses" and "Handling error responses", with the advice.
    static let rows = [
        Row(400, "BadCollapseId", 10, .afterFix, .request, .devices),
        Row(400, "BadDeviceToken", 11, .never, .deviceToken, isTokenInvalid: true, .devices),
        Row(400, "BadExpirationDate", 12, .afterFix, .request),
        Row(400, "BadMessageId", 13, .afterFix, .request),
        Row(400, "BadPriority", 14, .afterFix, .request),
        Row(400, "BadTopic", 15, .afterFix, .configuration, .devices),
        Row(400, "DeviceTokenNotForTopic", 16, .never, .configuration, isTokenInvalid: true, .devices),
        Row(400, "DuplicateHeaders", 17, .afterFix, .request, .devices),
        Row(400, "IdleTimeout", 18, .newConnection, .apple, .devices),
        Row(400, "InvalidPushType", 19, .afterFix, .request),
        Row(400, "MissingDeviceToken", 20, .afterFix, .request, .devices),
        Row(400, "MissingTopic", 21, .afterFix, .configuration, .devices),
        Row(400, "PayloadEmpty", 22, .afterFix, .request),
        Row(400, "TopicDisallowed", 23, .afterFix, .configuration),
        Row(403, "BadCertificate", 30, .afterFix, .configuration),
        Row(403, "BadCertificateEnvironment", 31, .afterFix, .configuration),
        Row(403, "ExpiredProviderToken", 32, .newConnectionAndProviderToken, .configuration),
        Row(403, "Forbidden", 33, .never, .configuration, .devices),
        Row(403, "InvalidProviderToken", 34, .afterFix, .configuration),
        Row(403, "MissingProviderToken", 35, .afterFix, .configuration),
        Row(403, "UnrelatedKeyIdInToken", 36, .newConnection, .configuration, .devices),
        Row(403, "BadEnvironmentKeyIdInToken", 37, .afterFix, .configuration, .devices),
        Row(403, "BadEnvironmentKeyInToken", 38, .afterFix, .configuration, .devices),
        Row(404, "BadPath", 40, .afterFix, .request),
        Row(405, "MethodNotAllowed", 41, .afterFix, .request),
        Row(410, "ExpiredToken", 42, .never, .deviceToken, isTokenInvalid: true, .devices),
        Row(410, "Unregistered", 43, .never, .deviceToken, isTokenInvalid: true, .devices),
        Row(413, "PayloadTooLarge", 44, .never, .request),
        Row(429, "TooManyProviderTokenUpdates", 45, .laterWithSameProviderToken, .configuration),
        Row(429, "TooManyRequests", 46, .later, .apple),
        Row(500, "InternalServerError", 47, .later, .apple, delay: 900),
        Row(503, "ServiceUnavailable", 48, .later, .apple, delay: 900),
        Row(503, "Shutdown", 49, .newConnection, .apple),
        Row(400, "FeatureNotEnabled", 50, .afterFix, .configuration, .channels),
        Row(400, "MissingChannelId", 51, .afterFix, .request, .channels),
        Row(400, "BadChannelId", 52, .afterFix, .request, .channels),
        Row(400, "ChannelNotRegistered", 53, .never, .request, .channels),
        Row(400, "BadRequestParams", 54, .afterFix, .request, .channels),
        Row(400, "BadRequestPayload", 55, .afterFix, .request, .channels),
        Row(400, "MissingPushType", 56, .afterFix, .request, .channels),
        Row(400, "CannotCreateChannelConfig", 57, .afterFix, .configuration, .channels),
        Row(403, "TopicMismatch", 58, .afterFix, .configuration, .channels),
    ]

    @Test(arguments: rows)
    func `each reason has its status, its number and its advice`(row: Row) throws {
        let reason = APNSReason(label: row.reason)
        #expect(reason.rawValue == row.number)
        #expect(reason.status == row.status)
        #expect(reason.service == row.service)
        let advice = try #require(reason.advice)
        #expect(advice.retry == row.retry)
        #expect(advice.fault == row.fault)
        #expect(advice.isTokenInvalid == row.isTokenInvalid)
        #expect(advice.retryDelayMin == .seconds(row.delay))
        #expect(ReasonAdvice.advice(status: row.status, reason: reason) == advice)
    }

    @Test func `the table contains every reason exactly once`() {
        #expect(Self.rows.map(\.reason) == APNSReason.allCases.filter { $0.status != nil }.map(\.description))
        #expect(APNSReason.none.rawValue == 0 && APNSReason.unknown.rawValue == 1)
        #expect(APNSReason.none.advice == nil && APNSReason.unknown.advice == nil)
        #expect(APNSReason.none.service == .both && APNSReason.unknown.service == .both)
    }

    @Test func `a meaning is a phrase, an action is a sentence`() {
        for reason in APNSReason.allCases {
            guard let advice = reason.advice else { continue }
            #expect(!advice.meaning.isEmpty && !advice.meaning.hasSuffix("."), "\(reason)")
            #expect(advice.action.hasSuffix(".") && advice.action.first?.isUppercase == true, "\(reason)")
            #expect(!(advice.meaning + advice.action).contains("|"), "\(reason)")
        }
    }

    @Test(arguments: [APNSReason.none, .unknown])
    func `without a known reason the status decides`(reason: APNSReason) {
        func advice(_ status: UInt16) -> ReasonAdvice { .advice(status: status, reason: reason) }
        #expect(advice(200).retry == .notNeeded && advice(204).fault == .none)
        #expect(advice(403).retry == .afterFix && advice(403).fault == .configuration)
        #expect(advice(410).retry == .never && advice(410).isTokenInvalid)
        #expect(advice(413).retry == .never && advice(413).fault == .request)
        #expect(advice(429).retry == .later && advice(429).fault == .apple)
        #expect(advice(500).retry == .later && advice(599).retryDelayMin == .seconds(900))
        #expect(advice(302).retry == .never && advice(0).fault == .configuration)
        for status: UInt16 in 400...499 where ![403, 410, 413, 429].contains(status) {
            #expect(advice(status).retry == .afterFix && advice(status).fault == .request)
        }
        for status: UInt16 in 0...700 where status != 410 { #expect(!advice(status).isTokenInvalid) }
    }

    @Test func `a success status overrides the reason`() {
        #expect(ReasonAdvice.advice(status: 200, reason: .unregistered).retry == .notNeeded)
    }

    @Test func `each answer has its advice`() {
        let answer = APNSAnswer(disposition: .answered, status: 410, reason: .unregistered)
        #expect(APNSResponse(id: .random(), answer: answer).advice == APNSReason.unregistered.advice)
        #expect(APNSResponse(id: .random(), answer: .accepted).advice.retry == .notNeeded)
        let body = Array(#"{"reason":"CannotCreateChannelConfig"}"#.utf8)
        let refused = ChannelResponse(status: 400, headers: [], body: body, to: .create)
        #expect(refused.advice == APNSReason.cannotCreateChannelConfig.advice)
        #expect(ChannelResponse(status: 204, headers: [], body: [], to: .delete).advice == nil)
        #expect(ChannelResponse(status: 200, headers: [], body: [], to: .delete).advice?.retry == .never)
        #expect(ChannelResponse(status: 500, headers: [], body: [], to: .delete).advice?.retry == .later)
    }

    @Test func `an alternative spelling of a reason is recognized`() {
        #expect(APNSReason(label: "Service Unavailable") == .serviceUnavailable)
    }

    /// With `GODWIT_UPDATE_DOCS=1` it writes the page before it compares.
    @Test func `apns-reasons.md matches the table`() throws {
        let file = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("docs/reference/apns-reasons.md")
        if ProcessInfo.processInfo.environment["GODWIT_UPDATE_DOCS"] != nil {
            try Data(ReasonsPage.markdown.utf8).write(to: file)
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == ReasonsPage.markdown)
    }
}
