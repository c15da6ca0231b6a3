package import Foundation
package import PushModel

/// The different verdicts and error codes of a batch's outcomes: columns `states` and `codes` of its record.
///
/// After a replay of dead letters they include the earlier outcomes.
package struct OutcomeKinds: Sendable, Equatable {
    /// Bit *n*: some outcome has the verdict whose stored number is *n*.
    package private(set) var stateBits: UInt8 = 0
    /// Ascending, without `.none`.
    package private(set) var codes: [ErrorCode] = []

    package init() {}

    /// - Parameter codes: two bytes each, big-endian.
    /// - Throws: if a code is unknown to this version.
    package init(stateBits: UInt8, codes: Data) throws(CodecError) {
        self.stateBits = stateBits
        guard codes.count.isMultiple(of: 2) else { throw .damaged }
        let bytes = [UInt8](codes)
        for index in stride(from: 0, to: bytes.count, by: 2) {
            let number = UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1])
            guard let code = ErrorCode(rawValue: number) else { throw CodecError("unknown error code \(number)") }
            self.codes.append(code)
        }
    }

    package var codeBytes: Data {
        codes.reduce(into: Data()) { bytes, code in
            bytes.append(UInt8(code.rawValue >> 8))
            bytes.append(UInt8(code.rawValue & 255))
        }
    }

    package func contains(_ verdict: Verdict) -> Bool { stateBits & 1 << verdict.rawValue != 0 }

    mutating func add(_ outcomes: [Outcome]) {
        for outcome in outcomes {
            stateBits |= 1 << outcome.verdict.rawValue
            // Adjacent outcomes usually have the same code.
            if outcome.code != .none, outcome.code != codes.last, !codes.contains(outcome.code) {
                let index = codes.firstIndex { $0.rawValue > outcome.code.rawValue } ?? codes.endIndex
                codes.insert(outcome.code, at: index)
            }
        }
    }
}
