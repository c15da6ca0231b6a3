import GodwitCLI
import Testing

@Suite struct `How to go on after a failed send` {
    private static func continuation(
        file: String = "pushes.ndjson", lastLine: Int = 1200, isStarted: Bool = true, isComplete: Bool = false,
        isRestUnread: Bool = false, isRepeatable: Bool = false
    ) -> SendContinuation {
        SendContinuation(
            file: file, lastLine: lastLine, accepted: lastLine - 2, refused: 2, isStarted: isStarted,
            isComplete: isComplete, isRestUnread: isRestUnread, isRepeatable: isRepeatable)
    }

    @Test func `without a key the rest begins after the last line with a result`() {
        #expect(
            Self.continuation().text == """
                the lines up to 1,200 have a result (1,198 accepted, 2 refused), later ones may have been accepted \
                without one and would be delivered twice; to send the rest with the same options: tail -n +1201 \
                pushes.ndjson | godwit send --file -
                """)
        #expect(Self.continuation().nextLine == 1201)
        #expect(Self.continuation(file: "it's.ndjson").text.contains(#"tail -n +1201 'it'\''s.ndjson' |"#))
        #expect(Self.continuation(file: "-").text.hasSuffix("to send the rest, start at line 1,201 of the input"))
        #expect(!Self.continuation(isRestUnread: true).text.contains("may have been accepted"))
    }

    @Test func `with a key the same command continues`() {
        #expect(
            Self.continuation(isRepeatable: true).text
                == "the lines up to 1,200 have a result (1,198 accepted, 2 refused); "
                + "repeat the same command: no push is accepted twice")
        let none = Self.continuation(lastLine: 0, isStarted: false, isRepeatable: true)
        #expect(none.text == "repeat the same command: no push is accepted twice")
    }

    @Test func `there is no rest if all lines have a result`() {
        let all = Self.continuation(isComplete: true)
        #expect(all.text == "all lines have a result (1,198 accepted, 2 refused): do not send the file again")
        #expect(all.nextLine == nil)
    }

    @Test func `nothing was sent to a gateway that cannot be reached`() {
        #expect(Self.continuation(lastLine: 0, isStarted: false).text == "no line was sent")
        #expect(
            Self.continuation(lastLine: 0).text.hasPrefix("no line has a result, later ones may have been accepted"))
        #expect(Self.continuation(lastLine: 0, isRestUnread: true).text == "no line was accepted")
    }
}
