import HTTPTypes
import PushModel
import Telemetry
import Testing

@testable import PushAccept

@Suite struct `Request checks` {
    private static let head = RequestHead(
        HTTPRequest(method: .post, scheme: "http", authority: "localhost", path: "/push"), caller: Caller(address: nil)
    )

    private static func overloaded() -> AdmissionController {
        let admission = AdmissionController(limits: AdmissionLimits(), apps: [AppID("demo")])
        admission.update(AdmissionSample(bytesFree: 0))
        return admission
    }

    private static func checks(_ admission: AdmissionController) -> RequestChecks {
        RequestChecks(
            configuration: AcceptConfiguration(), admission: admission, held: HeldBytes(max: .max, logger: silence),
            metrics: AcceptMetrics(registry: MetricsRegistry()), clock: { .zero }
        )
    }

    @Test func `a refusal has the fields of the checks before it`() {
        var fields: HTTPFields = [:]
        let refusal = Self.checks(Self.overloaded()).refusal(of: Self.head, to: .batch, &fields)
        #expect(refusal?.code == .overloaded)
        #expect(fields[.rateLimit] == "\"batch\";r=99;t=1")
    }

    @Test func `only routes that accept pushes are refused under load`() {
        let checks = Self.checks(Self.overloaded())
        var fields: HTTPFields = [:]
        let refused = AcceptMetrics.Route.allCases.filter { checks.refusal(of: Self.head, to: $0, &fields) != nil }
        #expect(refused == [.push, .batch])
    }
}
