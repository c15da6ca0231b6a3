/// Decides when free pages are returned to the file system and the log is truncated. Both also remove the content of pushes
/// that have ended, which stays in freed pages and in the log until they are written again.
///
/// Under load only the pages of a drained backlog are returned, slowly, because the next pushes need pages. When little is
/// written for a while all of them are, and the log is truncated after that. A trickle of single pushes counts as quiet:
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

    /// The start of the time in which at most `quietChanges` rows changed, and their count before it.
    private var quiet: (since: Duration, changes: Int)?
    private var truncatedAt: Duration?

    init() {}

    mutating func next(_ sample: Sample) -> Step {
        if quiet.map({ sample.changes - $0.changes > Self.quietChanges }) ?? true {
            quiet = (sample.now, sample.changes)
        }
        let count = min(sample.pages.free, Self.pagesPerStep)
        guard let since = quiet?.since, sample.now - since >= Self.quietAfter,
            truncatedAt.map({ sample.now - $0 >= Self.pause }) ?? true
        else {
            let isBacklog =
                sample.pages.free * sample.pageBytes >= Self.backlogBytes && 2 * sample.pages.free >= sample.pages.total
            return isBacklog ? .returnPages(count, isUrgent: false) : .nothing
        }
        if count > 0 { return .returnPages(count, isUrgent: true) }
        guard sample.logBytes > 0 else { return .nothing }
        truncatedAt = sample.now
        quiet = (sample.now, sample.changes)
        return .truncateLog
    }
}
