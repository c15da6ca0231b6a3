import APNSWire
import GodwitCLI
import Testing

@Suite struct `A line of a response` {
    @Test func `an accepted push has an ID`() throws {
        let id = APNSID.random()
        let line = try read(
            "{\"index\":3,\"msg_id\":\"\(id)\",\"status\":\"accepted\",\"code\":0,\"timestamp\":1712000000}")
        #expect(line.id == id)
        #expect(line.state == "accepted")
    }

    @Test func `a refused push has a code, a name and a detail`() throws {
        let line = try read(
            #"{"index":0,"status":"refused","code":2022,"error":"missing_field","detail":"no \"app\""}"#)
        #expect(line.id == nil)
        #expect((line.state, line.code, line.reason) == ("refused", 2022, "missing_field"))
        #expect(line.detail == "no \"app\"")
    }

    @Test func `the reason of APNs takes precedence over the name of the error code`() throws {
        for line in [
            #"{"state":"rejected","code":3003,"error":"bad_device_token","reason":"BadDeviceToken"}"#,
            #"{"reason":"BadDeviceToken","state":"rejected","code":3003,"error":"bad_device_token"}"#,
        ] {
            #expect(try read(line).reason == "BadDeviceToken")
        }
    }

    @Test func `only waiting states are unsettled`() throws {
        for state in ["queued", "scheduled", "sending", "retrying", "unavailable"] {
            #expect(try !read("{\"state\":\"\(state)\"}").isSettled)
        }
        for state in ["delivered", "rejected", "expired", "cancelled", "suppressed", "given_up", "unknown"] {
            #expect(try read("{\"state\":\"\(state)\"}").isSettled)
        }
    }

    @Test(arguments: ["", "[1]", "<html>", "{\"state\":", "null"])
    func `a line that is not a JSON object is an error`(_ text: String) {
        #expect(throws: (any Error).self) { try read(text) }
    }

    @Test func `a problem document is described by its detail, or by its title`() {
        #expect(
            ProblemDocument(Array(#"{"title":"Bad Request","status":400,"detail":"not JSON at byte 3"}"#.utf8)).text
                == "not JSON at byte 3")
        #expect(ProblemDocument(Array(#"{"title":"Not Found"}"#.utf8)).text == "Not Found")
        #expect(ProblemDocument(Array("<html>".utf8)).text == nil)
    }

    @Test func `only a problem document of a gateway has the ID of the request`() {
        let problem = ProblemDocument(Array(#"{"title":"Not Found","code":3017,"request_id":"a"}"#.utf8))
        #expect(problem.isFromGateway && problem.code == 3017)
        let other = ProblemDocument(Array(#"{"title":"Not Found"}"#.utf8))
        #expect(!other.isFromGateway && other.code == nil)
    }

    private func read(_ text: String) throws -> ResponseLine {
        try ResponseLine(Array(text.utf8)[...])
    }
}
