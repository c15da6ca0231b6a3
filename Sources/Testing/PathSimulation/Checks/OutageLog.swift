/// The periods in which a component was unavailable.
final class OutageLog {
    private var spans: [ClosedRange<Ticks>] = []

    func add(_ span: ClosedRange<Ticks>) {
        if let last = spans.last, last.upperBound >= span.lowerBound, last.lowerBound <= span.lowerBound {
            spans[spans.count - 1] = last.lowerBound...max(last.upperBound, span.upperBound)
        } else {
            spans.append(span)
        }
    }

    /// The longest period within `window` without an outage in any of `logs`.
    static func longestQuietPeriod(in window: ClosedRange<Ticks>, _ logs: [OutageLog]) -> Ticks {
        let spans = logs.flatMap { $0.spans.filter { $0.overlaps(window) } }.sorted { $0.lowerBound < $1.lowerBound }
        var longest = 0
        var end = window.lowerBound
        for span in spans {
            longest = max(longest, span.lowerBound - end)
            end = max(end, span.upperBound)
        }
        return max(longest, window.upperBound - end)
    }
}
