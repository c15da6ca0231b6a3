import PushModel
import Testing

@Suite struct `Error codes` {
    @Test func `have a number in one of the three families`() {
        for code in ErrorCode.allCases where code != .none {
            #expect((1000..<4000).contains(code.rawValue), "\(code)")
        }
    }

    @Test func `have unique names in snake case`() {
        let names = ErrorCode.allCases.map(\.entry.name)
        #expect(Set(names).count == names.count)
        for name in names {
            #expect(!name.isEmpty && name.allSatisfy { $0 == "_" || ("a"..."z").contains($0) }, "\(name)")
        }
    }

    @Test func `have a meaning and advice in sentences`() {
        for code in ErrorCode.allCases {
            #expect(code.entry.meaning.hasSuffix("."), "\(code)")
            #expect(code.entry.advice.hasSuffix("."), "\(code)")
        }
    }

    @Test func `include the codes that the specification fixes`() {
        let fixed: [(UInt16, String)] = [
            (1001, "connection_timed_out"), (1002, "reconnect_failed"), (2001, "heartbeat_lost"),
            (2002, "serialisation"), (3001, "frequency_exceeded"), (3002, "not_subscribed"),
        ]
        for (number, name) in fixed { #expect(ErrorCode(rawValue: number)?.entry.name == name) }
    }
}
