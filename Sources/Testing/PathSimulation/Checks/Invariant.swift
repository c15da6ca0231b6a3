/// What must hold in every run: the invariants of the message state machine, by their numbers.
package enum Invariant: String, Sendable, CaseIterable {
    case durable = "I1 durable promise"
    case conservation = "I2 conservation"
    case oneEnd = "I3 one end"
    case fencing = "I4 fencing"
    case oneOwner = "I5 one owner"
    case noLateSend = "I6 no late send"
    case boundedDuplicates = "I7 bounded doubles"
    case freeRetries = "I8 free retries are free"
    case noSilentDrop = "I9 no silent drop"
    case progress = "I13 progress"
    case isolation = "I14 isolation in time"
    case poisonAlone = "I16 poison stays alone"
    case admission = "I18 admission"
    case clocks = "I19 clocks"
    case boundedMemory = "I20 bounded memory"
}

/// An invariant did not hold.
package struct Violation: Sendable, Equatable, CustomStringConvertible {
    package var invariant: Invariant
    package var what: String
    /// Virtual seconds since the start of the run.
    package var at: Double

    package var description: String { "\(invariant.rawValue), at \(at) s: \(what)" }
}
