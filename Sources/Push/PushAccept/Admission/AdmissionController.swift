package import PushModel
package import PushStore
import Synchronization

/// Decides whether new pushes are admitted. Updated once a second from load samples; read by every request and chunk.
package final class AdmissionController: Sendable {
    /// A refusal began or ended.
    package struct Change: Sendable, Equatable {
        /// Nil: all apps.
        package var app: AppID?
        /// Nil: pushes are admitted again.
        package var refusal: AdmissionRefusal?

        package init(app: AppID? = nil, refusal: AdmissionRefusal?) {
            self.app = app
            self.refusal = refusal
        }
    }

    private struct State {
        var policy: AdmissionPolicy
        var decision: AdmissionDecision
    }

    private let state: Mutex<State>
    private let apps: [AppID]
    /// The raw value of `refusal`; 0: nil.
    private let refusalOfAll = Atomic<UInt8>(0)
    /// Saves the lock while no app is refused for a reason of its own, as is usual.
    private let isAnyAppRefused = Atomic<Bool>(false)

    /// - Parameter apps: in the order of the `AppDirectory`.
    package init(limits: AdmissionLimits, apps: [AppID]) {
        self.apps = apps
        let decision = AdmissionDecision(apps: apps.map { _ in nil })
        state = Mutex(State(policy: AdmissionPolicy(limits: limits, apps: apps), decision: decision))
    }

    /// Decides anew from a load sample.
    ///
    /// - Returns: the differences from the previous decision.
    @discardableResult
    package func update(_ sample: AdmissionSample) -> [Change] {
        state.withLock { state in
            let before = state.decision
            let decision = state.policy.update(sample)
            state.decision = decision
            refusalOfAll.store(decision.allApps?.rawValue ?? 0, ordering: .relaxed)
            isAnyAppRefused.store(decision.apps.contains { $0 != nil }, ordering: .relaxed)
            let changes = before.shared == decision.shared ? [] : [Change(refusal: decision.shared)]
            return apps.indices.reduce(into: changes) { changes, index in
                guard before.apps[index] != decision.apps[index] else { return }
                changes.append(Change(app: apps[index], refusal: decision.apps[index]))
            }
        }
    }

    /// Why no push of any app is admitted. Nil: pushes of some app are.
    package var refusal: AdmissionRefusal? {
        AdmissionRefusal(rawValue: refusalOfAll.load(ordering: .relaxed))
    }

    /// The refusal of each app, in the order of the apps. Nil: no app is refused for a reason of its own.
    var refusals: [AdmissionRefusal?]? {
        guard isAnyAppRefused.load(ordering: .relaxed) else { return nil }
        return state.withLock { $0.decision.apps }
    }

    /// Why pushes of one app are refused for a reason of its own. Nil: they are not.
    ///
    /// - Parameter index: into `AppDirectory.apps`.
    package func refusal(ofAppAt index: Int) -> AdmissionRefusal? {
        guard isAnyAppRefused.load(ordering: .relaxed) else { return nil }
        return state.withLock { $0.decision.apps[index] }
    }
}

extension AdmissionSample {
    /// - Parameter delay: why the pushes of an app wait, if it is known.
    package init(
        depth: QueueDepth, now: WallTime, bytesFree: Int?, memoryBytes: Int?, delay: (AppID) -> DeliveryDelay?
    ) {
        var apps: [AppID: AppLoad] = [:]
        for (app, pushes) in depth.pushesByApp {
            let oldest = depth.oldestDue[app].map { Duration.milliseconds(max(0, now.milliseconds - $0.milliseconds)) }
            apps[app] = AppLoad(queuedPushes: pushes, oldestDue: oldest, delay: delay(app)?.reason)
        }
        self.init(apps: apps, bytesFree: bytesFree, memoryBytes: memoryBytes)
    }
}
