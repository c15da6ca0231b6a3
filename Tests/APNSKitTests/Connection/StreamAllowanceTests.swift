import APNSKit
import Testing

@Suite struct `Stream allowance` {
    @Test func `it has no limit until a stream is refused`() {
        var allowance = StreamAllowance(isCautious: false)
        #expect(allowance.count == .max)
        allowance.answered()
        #expect(allowance.count == .max)
    }

    @Test func `it halves once for the streams that were open at a refusal`() {
        var allowance = StreamAllowance(isCautious: false)
        for stream in stride(from: Int32(3), through: 1199, by: 2) {
            allowance.refused(stream, open: 600, lastStream: 1199)
        }
        #expect(allowance.count == 300)
        for stream in stride(from: Int32(1201), through: 1799, by: 2) {
            allowance.refused(stream, open: 300, lastStream: 1799)
        }
        #expect(allowance.count == 150)
        for round in Int32(0)..<100 { allowance.refused(2001 + 2 * round, open: 1, lastStream: 2001 + 2 * round) }
        #expect(allowance.count == 1)
    }

    @Test func `after a refusal it grows by one a round, below that by one an answer`() {
        var allowance = StreamAllowance(isCautious: false)
        allowance.refused(1, open: 20, lastStream: 39)
        #expect(allowance.count == 10)
        for _ in 0..<9 { allowance.answered() }
        #expect(allowance.count == 10)
        allowance.answered()
        #expect(allowance.count == 11)
        var cautious = StreamAllowance(isCautious: true)
        #expect(cautious.count == 1)
        // Doubles in each round.
        for round in 1...9 {
            for _ in 0..<(1 << (round - 1)) { cautious.answered() }
            #expect(cautious.count == 1 << round)
        }
    }
}
