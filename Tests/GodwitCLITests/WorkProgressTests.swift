import GodwitCLI
import Testing

@Suite struct `Progress` {
    @Test func `the bar fills the width that the figures leave`() {
        let progress = WorkProgress(phase: "accepting", fraction: 0.5, count: 100_000, elapsed: .seconds(2))
        #expect(
            progress.line(width: 79)
                == "accepting [============            ]  50%  100,000 pushes  50,000/s  2.0 s left"
        )
        #expect(progress.line(width: 30) == "accepting   50%  100,000 pushe")
        for width in 0..<200 { #expect(progress.line(width: width).count <= width) }
    }

    @Test func `without a known total there is no bar`() {
        let progress = WorkProgress(phase: "accepting", fraction: nil, count: 1234, elapsed: .zero)
        #expect(progress.line(width: 80) == "accepting  1,234 pushes  0/s")
    }

    @Test func `figures have thousands separators and times are short`() {
        #expect([0, 999, 1000, -1_234_567].map(\.grouped) == ["0", "999", "1,000", "-1,234,567"])
        let times: [Duration] = [.milliseconds(12), .milliseconds(3450), .seconds(310)]
        #expect(times.map(\.short) == ["12 ms", "3.4 s", "5 min 10 s"])
    }
}
