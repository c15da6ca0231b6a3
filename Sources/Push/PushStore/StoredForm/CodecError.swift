/// Stored bytes cannot be decoded: they are damaged, or written by a version with an unknown form.
package struct CodecError: Error, Equatable, CustomStringConvertible {
    /// For an operator; never contains stored data.
    package let problem: String

    package init(_ problem: String) {
        self.problem = problem
    }

    /// The bytes are not those that were stored.
    package static let damaged = CodecError("the checksum does not match")

    package var description: String { "stored bytes cannot be decoded: \(problem)" }
}
