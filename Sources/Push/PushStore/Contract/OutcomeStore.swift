package import PushModel

/// Lookup of push states and outcomes.
package protocol OutcomeStore: Sendable {
    /// The state of each push.
    ///
    /// - Returns: parallel to `ids`; nil for an id that was never accepted here or whose record was pruned.
    func find(_ ids: [PushID]) async throws(StoreError) -> [PushStatus?]
}

package enum StoreError: Error, Equatable, CustomStringConvertible {
    case unavailable(String)

    package var description: String {
        switch self {
        case .unavailable(let reason): "the store is unavailable: \(reason)"
        }
    }
}
