/// The invariants of every run. The raw values are shown to users of `godwit-lab simulate-path`.
package enum Invariant: String, Sendable, CaseIterable {
    case durable = "accepted pushes are durable"
    case conservation = "every durable push is either queued or settled"
    case oneVerdict = "a verdict never changes"
    case fencing = "a write under an old lease changes nothing"
    case oneOwner = "a batch has one owner at a time"
    case noLateSend = "no push is sent when it must not be sent"
    case boundedDuplicates = "every duplicate has a cause"
    case unprocessedNotCounted = "attempts that APNs did not process are not counted"
    case noSilentDrop = "every verdict has a reason"
    case progress = "due pushes are settled in time"
    case expiry = "a waiting push expires in time, whether it could be sent or not"
    case isolation = "the load of one app does not delay another"
    case poisonIsolated = "only the push that crashes its gateway is given up as poison"
    case admission = "a refused push is never stored or sent"
    case clocks = "wrong clocks cause neither losses nor duplicates"
    case boundedMemory = "a gateway stays within its memory limit"
}

/// An invariant that did not hold.
package struct Violation: Sendable, Equatable, CustomStringConvertible {
    package var invariant: Invariant
    package var detail: String
    /// Virtual seconds since the start of the run.
    package var at: Double

    package var description: String { "'\(invariant.rawValue)', after \(at) s: \(detail)" }
}
