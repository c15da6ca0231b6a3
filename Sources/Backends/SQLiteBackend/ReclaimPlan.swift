/// Decides when free pages are returned to the file system, the log is truncated and gaps in pages are cleared. All three
/// remove the content of pushes that have ended, which otherwise stays there until it is overwritten.
///
/// Under load only the pages of a drained backlog are returned, slowly, because the next pushes need pages. When little is
/// written for a while all of them are, and the log is truncated after that. `LeafGaps` then reads the pages in use, and if it
/// has written any, both are repeated. A trickle of single pushes counts as quiet:
/// otherwise their content would stay indefinitely.
///
/// Pure: the caller passes samples.
struct ReclaimPlan: Sendable {
    struct Sample: Sendable {
        /// Rows that the writing connection has changed since it was opened.
        var changes: Int
        var pages: PageCounts
        var pageBytes: Int
        var logBytes: Int
        /// By the monotonic clock.
        var now: Duration
    }

    enum Step: Equatable {
        case nothing
        /// `isUrgent`: the next step follows within milliseconds instead of a second.
        case returnPages(Int, isUrgent: Bool)
        case truncateLog
        /// In pages of rows with this key or a greater one.
        case clearGaps(from: Int64)
    }

    /// Some 8 ms of work for each step.
    static let pagesPerStep = 512
    /// Free bytes of a drained backlog, which are returned under load if they are also half of the file.
    static let backlogBytes = 64 << 20
    /// How long little must be written. Together with the pause and the work this is under the promised minute.
    static let quietAfter: Duration = .seconds(10)
    /// What counts as little: about 10 single pushes a second.
    static let quietChanges = 1000
    /// The shortest time between two truncations of the log.
    static let pause: Duration = .seconds(20)
    /// A log that is not longer was truncated a few seconds ago.
    static let shortLogBytes = 4 << 20

    /// The start of the time in which at most `quietChanges` rows changed, and their count before it.
    private var quiet: (since: Duration, changes: Int)?
    private var truncatedAt: Duration?
    /// Follows each truncation, because the pages are read from the file. The first one is for what the last process left.
    private var pass: GapPass? = .clear(from: .min, hasCleared: false)

    private enum GapPass {
        case clear(from: Int64, hasCleared: Bool)
        /// The gaps are cleared in the log only.
        case truncate
    }

    init() {}

    mutating func next(_ sample: Sample) -> Step {
        let start = quiet ?? (since: sample.now, changes: sample.changes)
        let isQuiet = sample.changes - start.changes <= Self.quietChanges
        if !isQuiet { pass = nil }
        let since = isQuiet ? start.since : sample.now
        quiet = (since, isQuiet ? start.changes : sample.changes)
        let isDue =
            sample.now - since >= Self.quietAfter && (truncatedAt.map { sample.now - $0 >= Self.pause } ?? true)
        // A pass goes on during the pause.
        let isPassing = pass != nil && truncatedAt != nil
        let count = min(sample.pages.free, Self.pagesPerStep)
        guard isDue || isPassing else {
            let isBacklog =
                sample.pages.free * sample.pageBytes >= Self.backlogBytes && 2 * sample.pages.free >= sample.pages.total
            return isBacklog ? .returnPages(count, isUrgent: false) : .nothing
        }
        if count > 0 { return .returnPages(count, isUrgent: true) }
        // If the log was not truncated, for example because of a reader, the file is old.
        let logBytesMax = truncatedAt == nil ? 0 : Self.shortLogBytes
        if case .clear(let key, _) = pass, sample.logBytes <= logBytesMax { return .clearGaps(from: key) }
        let isAfterPass = if case .truncate = pass { true } else { false }
        pass = nil
        guard sample.logBytes > 0, isDue || isAfterPass else { return .nothing }
        truncatedAt = sample.now
        quiet = (sample.now, sample.changes)
        if !isAfterPass { pass = .clear(from: .min, hasCleared: false) }
        return .truncateLog
    }

    /// Records what a step `clearGaps` did.
    ///
    /// - Parameters:
    ///   - rows: how many were rewritten, twice each.
    ///   - next: where the next step begins; nil after the last.
    mutating func cleared(rows: Int, next: Int64?) {
        guard case .clear(_, let hadCleared) = pass else { return }
        quiet?.changes += 2 * rows
        let hasCleared = hadCleared || rows > 0
        pass = if let next { .clear(from: next, hasCleared: hasCleared) } else { hasCleared ? .truncate : nil }
    }
}
