package import PushModel
package import PushStore
import Synchronization

/// Whether new pushes are taken: told once a second how things stand, asked by every request, and for each piece of one.
package final class AdmissionController: Sendable {
    /// Something began or ceased to be short.
    package struct News: Sendable, Equatable {
        /// nil: everybody's.
        package var app: AppID?
        /// nil: pushes are taken again.
        package var refusal: AdmissionRefusal?

        package init(app: AppID? = nil, refusal: AdmissionRefusal?) {
            self.app = app
            self.refusal = refusal
        }
    }

    private struct State {
        var policy: AdmissionPolicy
        var verdict: AdmissionDecision
    }

    private let state: Mutex<State>
    private let apps: [AppID]
    /// The raw value of what keeps every push out; 0: nothing.
    private let unread = Atomic<UInt8>(0)
    /// Whether any app is refused for a reason of its own: mostly none is, and then nobody need take the lock.
    private let isAnyAppRefused = Atomic<Bool>(false)

    /// - Parameter apps: in the order of the `AppDirectory`.
    package init(limits: AdmissionLimits, apps: [AppID]) {
        self.apps = apps
        let verdict = AdmissionDecision(apps: apps.map { _ in nil })
        state = Mutex(State(policy: AdmissionPolicy(limits: limits, apps: apps), verdict: verdict))
    }

    /// Takes note of how things stand.
    @discardableResult
    package func update(_ sample: AdmissionSample) -> [News] {
        state.withLock { state in
            let before = state.verdict
            let verdict = state.policy.update(sample)
            state.verdict = verdict
            unread.store(verdict.allApps?.rawValue ?? 0, ordering: .relaxed)
            isAnyAppRefused.store(verdict.apps.contains { $0 != nil }, ordering: .relaxed)
            let news = before.shared == verdict.shared ? [] : [News(refusal: verdict.shared)]
            return apps.indices.reduce(into: news) { news, index in
                guard before.apps[index] != verdict.apps[index] else { return }
                news.append(News(app: apps[index], refusal: verdict.apps[index]))
            }
        }
    }

    /// Why no new push is taken now, whichever app it is for; nil: some are.
    package var refusal: AdmissionRefusal? {
        AdmissionRefusal(rawValue: unread.load(ordering: .relaxed))
    }

    /// The same for all apps, in their order; nil: none is refused.
    var refusals: [AdmissionRefusal?]? {
        guard isAnyAppRefused.load(ordering: .relaxed) else { return nil }
        return state.withLock { $0.verdict.apps }
    }

    /// Why new pushes of one app are refused for a reason of its own; nil: they are not.
    ///
    /// - Parameter index: into `AppDirectory.apps`.
    package func refusal(ofAppAt index: Int) -> AdmissionRefusal? {
        guard isAnyAppRefused.load(ordering: .relaxed) else { return nil }
        return state.withLock { $0.verdict.apps[index] }
    }
}

extension AdmissionSample {
    /// - Parameter outlook: why pushes of an app wait, where that is known.
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
