package import PushModel

/// Where the outcome of each push can be looked up.
package protocol OutcomeStore: Sendable {
    /// What is known of these pushes.
    ///
    /// - Returns: parallel to `ids`; nil for an id that was never accepted here or whose record has been pruned.
    func find(_ ids: [PushID]) async throws(StoreError) -> [PushStatus?]
}

package enum StoreError: Error, Equatable, CustomStringConvertible {
    case unavailable(String)

    package var description: String {
        switch self {
        case .unavailable(let why): "the store is unavailable: \(why)"
        }
    }
}
