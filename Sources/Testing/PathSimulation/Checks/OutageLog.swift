/// When something did not work.
final class OutageLog {
    private var spans: [ClosedRange<Ticks>] = []

    func add(_ span: ClosedRange<Ticks>) {
        if let last = spans.last, last.upperBound >= span.lowerBound, last.lowerBound <= span.lowerBound {
            spans[spans.count - 1] = last.lowerBound...max(last.upperBound, span.upperBound)
        } else {
            spans.append(span)
        }
    }

    /// The longest time in `window` in which none of them had trouble.
    static func longestCalm(in window: ClosedRange<Ticks>, _ all: [OutageLog]) -> Ticks {
        let spans = all.flatMap { $0.spans.filter { $0.overlaps(window) } }.sorted { $0.lowerBound < $1.lowerBound }
        var calm = 0
        var end = window.lowerBound
        for span in spans {
            calm = max(calm, span.lowerBound - end)
            end = max(end, span.upperBound)
        }
        return max(calm, window.upperBound - end)
    }
}
