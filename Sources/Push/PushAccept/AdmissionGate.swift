import PushModel
import Synchronization

/// Whether new pushes are taken: told once a second how things stand, asked by every request.
package final class AdmissionGate: Sendable {
    private let policy: Mutex<AdmissionPolicy>
    /// The raw value of what is short; 0: nothing.
    private let state = Atomic<UInt8>(0)

    package init(limits: AdmissionLimits) {
        policy = Mutex(AdmissionPolicy(limits: limits))
    }

    /// Takes note of how things stand.
    ///
    /// - Returns: what is short now, and whether that is news.
    @discardableResult
    package func update(_ sample: AdmissionSample) -> (refusal: AdmissionRefusal?, isNews: Bool) {
        policy.withLock { policy in
            let refusal = policy.update(sample)
            let before = state.exchange(refusal?.rawValue ?? 0, ordering: .relaxed)
            return (refusal, before != refusal?.rawValue ?? 0)
        }
    }

    /// Why new pushes are refused now; nil: they are taken.
    package var refusal: AdmissionRefusal? {
        AdmissionRefusal(rawValue: state.load(ordering: .relaxed))
    }
}
