import Foundation
import GodwitCLI
import Testing

@Suite struct `Responses to control requests` {
    private func decode<Response: Decodable>(_ type: Response.Type, _ json: String) throws -> Response {
        try ControlResponses.decode(type, from: Array(json.utf8))
    }

    @Test func `a cancellation has a line for each ID and a summary`() throws {
        let response = try decode(
            CancelResponse.self,
            #"""
            {"results":[{"msg_id":"a","result":"cancelled"},{"msg_id":"b","result":"too_late"},
            {"msg_id":"c","result":"settled","state":"delivered"},{"msg_id":"d","result":"unknown"}],
            "cancelled":1,"too_late":1}
            """#
        )
        #expect(
            response.lines == [
                "a  cancelled", "b  too late: it is being sent", "c  too late: delivered", "d  no push with this ID",
            ])
        #expect(response.summary(of: "app \"shop\"") == "1 push cancelled; 1 too late, being sent")
    }

    @Test func `a cancellation without waiting pushes is described as such`() throws {
        let none = try decode(CancelResponse.self, #"{"cancelled":0,"too_late":0}"#)
        #expect(none.summary(of: "app \"shop\"") == "no waiting pushes of app \"shop\"" && none.lines.isEmpty)
        let many = try decode(CancelResponse.self, #"{"cancelled":2500,"too_late":0}"#)
        #expect(many.summary(of: "app \"shop\"") == "2,500 pushes cancelled")
    }

    @Test func `apps are a table with their queues and states`() throws {
        let response = try decode(
            AppsResponse.self,
            #"""
            {"apps":[{"app":"shop","bundle_id":"com.example.shop","queued":{"normal":1200},
            "paused_since":"2026-11-23T12:00:00.123Z"},
            {"app":"tea","bundle_id":"com.example.tea","queued":{},"delayed":"rate_limited","estimate":90},
            {"app":"new","bundle_id":"com.example.new","queued":{},"delayed":"apns_unreachable","detail":"connect: EACCES"},
            {"app":"old","queued":{"bulk":3}}]}
            """#
        )
        #expect(
            response.text == """
                  app   bundle ID         urgent  normal  bulk  state
                  shop  com.example.shop       0   1,200     0  paused since 2026-11-23 12:00:00 UTC
                  tea   com.example.tea        0       0     0  delayed: rate limited, about 1 min 30 s
                  new   com.example.new        0       0     0  delayed: APNs unreachable, for an unknown time: connect: EACCES
                  old   -                      0       0     3  not configured: pushes are not sent
                """
        )
    }

    @Test func `an app with several environments has a row for each`() throws {
        let response = try decode(
            AppsResponse.self,
            #"""
            {"apps":[{"app":"shop","bundle_id":"com.example.shop","queued":{"normal":1200},
            "environments":[{"environment":"production"},
            {"environment":"sandbox","delayed":"credential_refused"}]},
            {"app":"tea","bundle_id":"com.example.tea","queued":{}}]}
            """#
        )
        #expect(
            response.text == """
                  app   bundle ID         environment  urgent  normal  bulk  state
                  shop  com.example.shop  production        0   1,200     0  ready
                                          sandbox                            delayed: credential refused, for an unknown time
                  tea   com.example.tea   -                 0       0     0  ready
                """
        )
    }

    @Test func `dead letters are a table with their errors`() throws {
        let response = try decode(
            DeadLettersResponse.self,
            #"""
            {"dead_letters":[{"msg_id":"a","app":"shop","lane":"bulk","code":3016,"error":"given_up",
            "reason":"InternalServerError","attempts":50,"died_at":"2026-11-23T12:00:00.123Z"}],"next":"a"}
            """#
        )
        #expect(response.next == "a")
        #expect(
            DeadLettersResponse.text(response.deadLetters) == """
                  msg_id  app   lane  given up                 attempts  error
                  a       shop  bulk  2026-11-23 12:00:00 UTC        50  3016 given_up, InternalServerError
                """
        )
    }

    @Test func `a response that is not JSON of the expected type is an error`() {
        #expect(throws: GatewayFailure.self) { try decode(AppsResponse.self, "<html>") }
        #expect(throws: GatewayFailure.self) { try decode(AppsResponse.self, #"{"apps":1}"#) }
    }

    @Test func `an object is printed with one field per line, without empty ones`() {
        let text = TextTable.fields(of: Array(#"{"msg_id":"a","reason":null,"state":"queued","detail":""}"#.utf8))
        #expect(text == "msg_id  a\nstate   queued")
    }

    @Test func `found pushes are a table that shows only the beginning of the token`() throws {
        let response = try decode(
            MessagesResponse.self,
            #"""
            {"messages":[
            {"msg_id":"b","app":"shop","lane":"normal","state":"rejected","code":3002,"error":"not_subscribed",
            "reason":"Unregistered","attempts":1,"accepted_at":"2026-11-23T12:00:01.123Z","token_match":"hash"},
            {"msg_id":"a","app":"shop","lane":"normal","state":"queued","code":0,"attempts":0,
            "accepted_at":"2026-11-23T12:00:00.123Z","token_match":"exact"}
            ],"next":null,"searched_to":"2026-11-23T12:00:00.123Z"}
            """#
        )
        #expect(
            MessagesResponse.text(response.messages, token: "a1b2c3d4e5f60718") == """
                  accepted                 msg_id  app   state     attempts  match  error
                  2026-11-23 12:00:01 UTC  b       shop  rejected         1  hash   3002 not_subscribed, Unregistered
                  2026-11-23 12:00:00 UTC  a       shop  queued           0  exact

                2 pushes to the device a1b2c3d4…
                """
        )
        let text = MessagesResponse.text(Array(response.messages.prefix(1)), token: nil)
        #expect(text.hasSuffix("\n\n1 push") && !text.contains("match"))
        #expect(MessagesResponse.text(response.messages, token: "a1b2").hasSuffix("device a1…"))
    }

    @Test func `the start of a search is a duration or a time`() throws {
        let now = Date(timeIntervalSince1970: 1_790_000_000)
        #expect(try SinceTime.text("90s", now: now) == "2026-09-21T14:11:50Z")
        #expect(try SinceTime.text("24h", now: now) == "2026-09-20T14:13:20Z")
        #expect(try SinceTime.text("7d", now: now) == "2026-09-14T14:13:20Z")
        for time in ["2026-11-23T12:00:00Z", "2026-11-23T12:00:00.5Z"] {
            #expect(try SinceTime.text(time, now: now) == time)
        }
        for wrong in ["", "h", "24", "-1h", "1w", "1.5h", "yesterday"] {
            #expect(throws: (any Error).self) { try SinceTime.text(wrong, now: now) }
        }
    }
}
