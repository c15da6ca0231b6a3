import APNSWire
import Testing

@testable import GodwitCLI

@Suite struct `Control requests` {
    @Test func `IDs are split into bodies of at most 1,000`() {
        let ids = (0..<2001).map { APNSID(high: 1, low: UInt64($0)) }
        let bodies = ControlRequest.bodies(ids: ids).map { String(decoding: $0, as: UTF8.self) }
        #expect(bodies.count == 3)
        #expect(bodies[2] == #"{"ids":["\#(ids[2000])"]}"#)
        #expect(ControlRequest.bodies(ids: []).isEmpty)
    }

    @Test func `values are escaped`() {
        #expect(String(decoding: ControlRequest.body("app", #"a"b"#), as: UTF8.self) == #"{"app":"a\"b"}"#)
        #expect(ControlRequest.escaped("a/b c&ä") == "a%2Fb%20c%26%C3%A4")
    }

    @Test func `a text that is not a push ID is named in the error`() {
        let error = #expect(throws: (any Error).self) { try PushIDs.parse(["nosuch"]) }
        #expect(error.map { "\($0)" } == "'nosuch' is not a push ID")
    }
}
