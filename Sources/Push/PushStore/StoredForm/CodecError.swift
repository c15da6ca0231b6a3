/// Stored bytes that cannot be read: damaged, or written by a version whose form this one does not know.
package struct CodecError: Error, Equatable, CustomStringConvertible {
    /// What is wrong, for an operator; never holds stored data.
    package let problem: String

    package init(_ problem: String) {
        self.problem = problem
    }

    package var description: String { "stored bytes cannot be read: \(problem)" }
}
