import APNSWire
import PushModel
import PushStore

/// The trials of quarantined batches. Pure.
///
/// A batch is quarantined after several crashes of its holders. Its pushes are tried apart from other quarantined ones,
/// one trial in memory at a time, so that a crash points to the trial:
///
///      claim of at most `trialMax` pushes ──► trial in memory ──► every batch of it has left memory: the size doubles
///                                                 │
///                                                 ├─ not answered: the app's next trial starts 30 s later
///                                                 └─ not sent at the next tick, because of the app's rate or its other
///                                                    pushes: returned, the app's next trial starts 5 s later
///
/// An app that pauses does not delay the trials of the others. A trial has a short deadline, and no push of it is held
/// in memory. The size restarts at one when the process restarts.
struct Quarantine: Sendable {
    /// Several times the deadline of a trial, so that an app whose pushes are never answered uses few of the trials that
    /// all apps share.
    private static let unansweredPause: Duration = .seconds(30)
    /// The deadline of a trial.
    static let answerTimeout: Duration = .seconds(5)
    private static let unsentPause: Duration = .seconds(5)

    /// The batches of the current trial.
    private(set) var leases: Set<Lease> = []
    private var size = 1
    /// Whether more batches may be quarantined in the store: since one was claimed, no claim has shown otherwise.
    var mayHaveMore = false
    /// When the next trial of an app may start. Has the apps that pause.
    private var deferredUntil: [AppEnvironment: Duration] = [:]

    /// How many pushes of quarantined batches may be claimed.
    var trialMax: Int { leases.isEmpty ? size : 0 }

    mutating func added(_ lease: Lease) {
        leases.insert(lease)
        mayHaveMore = true
    }

    /// A batch left memory without a crash. The trial completes with its last batch.
    mutating func removed(_ lease: Lease) {
        guard leases.remove(lease) != nil, leases.isEmpty else { return }
        size = min(2 * size, NotificationBatch.countMax)
    }

    /// The apps of which no trial starts now.
    mutating func deferredApps(now: Duration) -> Set<AppEnvironment> {
        guard !deferredUntil.isEmpty else { return [] }
        deferredUntil = deferredUntil.filter { now < $0.value }
        return Set(deferredUntil.keys)
    }

    /// APNs has answered pushes of the app, or left a trial of it unanswered.
    mutating func answered(_ classification: AnswerClassification, isTrial: Bool, by app: AppEnvironment, now: Duration)
    {
        if classification.finalAnswers > 0 {
            if !deferredUntil.isEmpty { deferredUntil[app] = nil }
        } else if isTrial, classification.ambiguous == classification.count {
            deferredUntil[app] = now + Self.unansweredPause
        }
    }

    /// A trial of the app returned to the store unsent.
    mutating func returnedUnsent(of app: AppEnvironment, now: Duration) {
        deferredUntil[app] = now + Self.unsentPause
    }
}

extension AppStateMachine {
    /// Returns the unsent pushes of a trial: they would block the trials of all apps.
    mutating func returnUnsentTrial(now: Moment, _ actions: inout DispatchActions) {
        guard !trial.isEmpty else { return }
        for key in trial.sorted() where works[key]!.unsentCount > 0 {
            returnUnsent(key, now: now, &actions)
            shared.withLock {
                $0.assumeBacklog(of: number)
                $0.quarantine.returnedUnsent(of: app, now: now.monotonic)
            }
        }
    }
}
