import Foundation

/// How far a long piece of work has come.
package struct WorkProgress {
    /// One word: `accepting`, `delivering`.
    package var phase: String
    /// 0 to 1; nil when the end cannot be told.
    package var fraction: Double?
    /// Pushes.
    package var count: Int
    package var elapsed: Duration

    package init(phase: String, fraction: Double?, count: Int, elapsed: Duration) {
        self.phase = phase
        self.fraction = fraction
        self.count = count
        self.elapsed = elapsed
    }

    /// One line of at most `width` characters; the bar takes what room the figures leave.
    package func line(width: Int) -> String {
        var figures = "\(count.grouped) pushes  \(count.perSecond(in: elapsed).grouped)/s"
        guard let fraction else { return String("\(phase)  \(figures)".prefix(width)) }
        let percent = Int(fraction * 100)
        if fraction > 0.02, fraction < 1 {
            figures += "  \((elapsed * ((1 - fraction) / fraction)).short) left"
        }
        let left = "\(phase) "
        let right = " \(String(repeating: " ", count: percent < 10 ? 2 : percent < 100 ? 1 : 0))\(percent)%  \(figures)"
        let capacity = min(40, width - left.count - right.count - 2)
        guard capacity >= 8 else { return String((left + right).prefix(width)) }
        let filled = Int(Double(capacity) * fraction)
        let bar = String(repeating: "=", count: filled) + String(repeating: " ", count: capacity - filled)
        return "\(left)[\(bar)]\(right)"
    }
}

/// Shows progress on standard error: one line that changes on a terminal, a line now and then elsewhere.
package struct ProgressBar {
    private let isTerminal: Bool
    private let isQuiet: Bool
    private let pause: Duration
    private var shownAt: ContinuousClock.Instant
    private var isShown = false

    package init(isQuiet: Bool = false) {
        self.isQuiet = isQuiet
        isTerminal = isatty(STDERR_FILENO) == 1
        pause = isTerminal ? .milliseconds(100) : .seconds(5)
        shownAt = ContinuousClock.now
    }

    /// Shows `progress` unless something was shown a moment ago.
    package mutating func show(_ progress: @autoclosure () -> WorkProgress) {
        let now = ContinuousClock.now
        guard !isQuiet, now - shownAt >= pause else { return }
        shownAt = now
        isShown = true
        if isTerminal {
            write("\r\(progress().line(width: width - 1))\u{1B}[K")
        } else {
            write(progress().line(width: 120) + "\n")
        }
    }

    /// Leaves the line free for other output.
    package mutating func clear() {
        if isShown, isTerminal { write("\r\u{1B}[K") }
        isShown = false
    }

    private var width: Int {
        var size = winsize()
        return ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20 ? Int(size.ws_col) : 80
    }

    private func write(_ text: String) {
        FileHandle.standardError.write(Data(text.utf8))
    }
}
