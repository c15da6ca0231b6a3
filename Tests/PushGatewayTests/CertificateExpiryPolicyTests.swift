import PushGateway
import PushModel
import Testing

@Suite struct `The end of a certificate` {
    private static let day: Int64 = 86_400_000
    private let app = AppEnvironment(AppID("shop"))
    private let end = WallTime(milliseconds: 400 * day)

    private func at(_ daysLeft: Double) -> WallTime {
        WallTime(milliseconds: end.milliseconds - Int64(daysLeft * Double(Self.day)))
    }

    @Test func `is logged at 30, 7 and 1 days and at the end, each once`() {
        var policy = CertificateExpiryPolicy()
        var notices: [String] = []
        // Every six hours.
        for step in stride(from: 35.0, through: -2.0, by: -0.25) {
            guard let notice = policy.update(app, end: end, now: at(step)) else { continue }
            notices.append("\(notice) \(step)")
        }
        #expect(
            notices == ["loaded 35.0", "expiresSoon 29.75", "expiresSoon 6.75", "expiresSoon 0.75", "expired 0.0"])
    }

    @Test func `is logged once after a start within the last days`() {
        var policy = CertificateExpiryPolicy()
        #expect(policy.update(app, end: end, now: at(3)) == .expiresSoon)
        #expect(policy.update(app, end: end, now: at(2.9)) == nil)
        // A clock that is set back repeats nothing.
        #expect(policy.update(app, end: end, now: at(20)) == nil)
        #expect(policy.update(app, end: end, now: at(0.5)) == .expiresSoon)
    }

    @Test func `is that of another certificate after a replacement`() {
        var policy = CertificateExpiryPolicy()
        #expect(policy.update(app, end: end, now: at(0.5)) == .expiresSoon)
        let other = WallTime(milliseconds: end.milliseconds + 365 * Self.day)
        #expect(policy.update(app, end: other, now: at(0.5)) == .loaded)
        #expect(policy.update(AppEnvironment(AppID("news")), end: end, now: at(-1)) == .expired)
    }

    @Test func `is counted in whole days`() {
        #expect(CertificateExpiryPolicy.daysLeft(end: end, now: at(30)) == 30)
        #expect(CertificateExpiryPolicy.daysLeft(end: end, now: at(29.99)) == 29)
        #expect(CertificateExpiryPolicy.daysLeft(end: end, now: at(-0.5)) == -1)
    }
}
