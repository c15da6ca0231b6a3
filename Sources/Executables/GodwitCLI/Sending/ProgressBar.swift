import Foundation

/// The progress of a long operation.
package struct WorkProgress {
    /// One word: `accepting`, `delivering`.
    package var phase: String
    /// 0 to 1; nil if the total is unknown.
    package var fraction: Double?
    /// Pushes processed so far.
    package var count: Int
    package var elapsed: Duration

    package init(phase: String, fraction: Double?, count: Int, elapsed: Duration) {
        self.phase = phase
        self.fraction = fraction
        self.count = count
        self.elapsed = elapsed
    }

    /// One line of at most `width` characters. The bar fills the width that the figures leave.
    package func line(width: Int) -> String {
        var figures = "\(count.grouped) pushes  \(count.perSecond(in: elapsed).grouped)/s"
        guard let fraction else { return String("\(phase)  \(figures)".prefix(width)) }
        let percent = Int(fraction * 100)
        if fraction > 0.02, fraction < 1 {
            figures += "  \((elapsed * ((1 - fraction) / fraction)).short) left"
        }
        let left = "\(phase) "
        let right = " \(String(repeating: " ", count: percent < 10 ? 2 : percent < 100 ? 1 : 0))\(percent)%  \(figures)"
        let barWidth = min(40, width - left.count - right.count - 2)
        guard barWidth >= 8 else { return String((left + right).prefix(width)) }
        let filled = Int(Double(barWidth) * fraction)
        let bar = String(repeating: "=", count: filled) + String(repeating: " ", count: barWidth - filled)
        return "\(left)[\(bar)]\(right)"
    }
}

/// Shows progress on standard error: a terminal shows one line that is updated; other outputs receive a line every five
/// seconds.
package struct ProgressBar {
    private let isTerminal: Bool
    private let isQuiet: Bool
    private let interval: Duration
    private var shownAt: ContinuousClock.Instant
    private var isShown = false

    package init(isQuiet: Bool = false) {
        self.isQuiet = isQuiet
        isTerminal = isatty(STDERR_FILENO) == 1
        interval = isTerminal ? .milliseconds(100) : .seconds(5)
        shownAt = ContinuousClock.now
    }

    /// Shows `progress`, at most once per interval.
    package mutating func show(_ progress: @autoclosure () -> WorkProgress) {
        let now = ContinuousClock.now
        guard !isQuiet, now - shownAt >= interval else { return }
        shownAt = now
        isShown = true
        if isTerminal {
            Terminal.writeError(unterminated: "\r\(progress().line(width: width - 1))\u{1B}[K")
        } else {
            Terminal.writeError(progress().line(width: 120))
        }
    }

    /// Erases the line, so that other output can follow.
    package mutating func clear() {
        if isShown, isTerminal { Terminal.writeError(unterminated: "\r\u{1B}[K") }
        isShown = false
    }

    private var width: Int {
        var size = winsize()
        return ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20 ? Int(size.ws_col) : 80
    }
}
