package import APNSWire
package import JSONText
package import PushModel

/// Why an item is not accepted.
///
/// Small, because many can wait for a slow client; the text is built when it is written. Contains no part of a token or
/// payload.
package struct Refusal: Error, Sendable, Equatable {
    package enum Field: Sendable, Equatable {
        case none
        case known(PushField)
        /// A name from the input, at most 64 bytes of it.
        case unknown(String)
    }

    package enum Detail: Sendable, Equatable {
        case text(String)
        case json(JSONError)
        /// The name of an item that is too large, its size and its limit in bytes.
        case size(String, given: Int, max: Int)
        /// A rule of the lint that the push violates.
        case rule(LintFinding)
        /// More than `pushes` pushes to one device within `seconds`.
        case tooOften(pushes: Int, seconds: Int, retryAfter: Int)
        /// Admission control stops a stream.
        case overloaded(AdmissionRefusal)
        /// Admission control refuses one push.
        case appOverloaded(AdmissionRefusal)
    }

    package var code: ErrorCode
    package var field: Field
    package var detail: Detail

    package init(_ code: ErrorCode, field: Field = .none, _ detail: Detail) {
        self.code = code
        self.field = field
        self.detail = detail
    }

    static func badField(_ field: PushField, _ text: String) -> Refusal {
        Refusal(.badField, field: .known(field), .text(text))
    }

    static func wrongType(_ field: PushField, _ expected: String) -> Refusal {
        Refusal(.wrongType, field: .known(field), .text(expected))
    }

    /// The name of the faulty field, if there is one.
    package var fieldName: String? {
        switch field {
        case .none: nil
        case .known(let field): field.rawValue
        case .unknown(let name): name
        }
    }

    /// The rule of the lint that the push violates.
    package var rule: LintCode? {
        if case .rule(let finding) = detail { finding.code } else { nil }
    }

    /// When to send the item again; nil if it must be changed first.
    var retryAfterSeconds: Int? {
        switch detail {
        case .tooOften(_, _, let retryAfter): retryAfter
        case .overloaded(let refusal), .appOverloaded(let refusal): refusal.retryAfterSeconds
        case .text, .json, .size, .rule: nil
        }
    }

    static func overloaded(_ refusal: AdmissionRefusal) -> Refusal { Refusal(.overloaded, .appOverloaded(refusal)) }

    /// The fault and what to do, for people.
    package var text: String {
        let text =
            switch detail {
            case .text(let text): text
            case .json(let error): error.description
            case .size(let text, let given, let max): "\(text) has \(given) bytes, at most \(max) are allowed"
            case .rule(let finding): "\(finding.message); \(finding.advice)"
            case .tooOften(let pushes, let seconds, let retryAfter):
                "one device gets at most \(pushes) pushes within \(seconds) s; send it again in \(retryAfter) s"
            case .overloaded(let refusal):
                "\(refusal.text); no item from this one on was accepted, send them again in \(refusal.retryAfterSeconds) s"
            case .appOverloaded(let refusal):
                "\(refusal.text); send it again in \(refusal.retryAfterSeconds) s"
            }
        return fieldName.map { "\($0): \(text)" } ?? text
    }
}
