import GodwitCLI
import Testing

@Suite struct `The text of a status` {
    @Test func `explains the error code`() {
        let json = #"{"msg_id":"a","state":"rejected","code":3003,"error":"bad_device_token"}"#
        let lines = PushStatusText.text(of: Array(json.utf8)).split(separator: "\n")
        #expect(lines.first == "msg_id   a")
        #expect(lines.contains { $0.hasPrefix("meaning  ") } && lines.last?.hasPrefix("advice   ") == true)
    }

    @Test(arguments: [#"{"msg_id":"a","code":0}"#, #"{"msg_id":"a","code":65000}"#, #"{"msg_id":"a"}"#])
    func `has no explanation of no error, and of one that this version does not know`(_ json: String) {
        #expect(!PushStatusText.text(of: Array(json.utf8)).contains("meaning"))
    }
}
