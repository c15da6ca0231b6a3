/// Decides whether a refusal is the fault of its push or of its app: by the last ten answers of the app, and by how
/// often the push was refused while others were accepted.
///
/// Pure: the caller passes the time of the monotonic clock.
package struct RefusalWindow: Sendable, Equatable {
    package struct Settings: Sendable, Equatable {
        /// The number of refusals of one kind, with different tokens, among the last answers that blame the app.
        package var refusalsMin = 8
        /// How long an accepted push shows that the bundle ID and the credential fit together.
        package var successLifetime: Duration = .seconds(60)
        /// Without such a push: the number of tokens with a refused topic that blame the app.
        package var topicTokensMin = 2
        /// A push whose fault is undecided is rejected at this refusal.
        package var undecidedMax = 4
        /// A push whose credential is refused while other pushes are accepted is rejected at this refusal.
        package var contradictedMax = 6

        package init() {}
    }

    /// A recent answer of the app.
    package enum Entry: Sendable, Equatable {
        case accepted
        /// A refusal of the push itself, for example of its token.
        case other
        case refused(RefusalKind, token: UInt64)
    }

    package enum Blame: Sendable, Equatable {
        /// The push is rejected.
        case push
        /// The app's pushes wait; the push is tried again.
        case app
        /// Too few answers show it: the push is tried again soon. `refusals` says how often it was refused.
        case undecided(refusals: Int)
    }

    /// The number of answers that are compared.
    package static let answersMax = 10

    private let settings: Settings
    private var entries: [Entry] = []
    private var acceptedAt: Duration?
    private var counts = PushCounts()

    package init(settings: Settings = Settings()) {
        self.settings = settings
    }

    /// Records the last answers of a group, in their order; the last `answersMax` of a group are enough.
    package mutating func record(_ answers: some Sequence<Entry>, now: Duration) {
        for answer in answers {
            if answer == .accepted { acceptedAt = now }
            entries.append(answer)
        }
        if entries.count > Self.answersMax { entries.removeFirst(entries.count - Self.answersMax) }
    }

    /// Records that APNs accepted pushes, and nothing else. Costs nothing while no refusal is remembered.
    package mutating func recordAccepted(_ count: Int, now: Duration) {
        guard count > 0 else { return }
        acceptedAt = now
        guard !entries.isEmpty else { return }
        record(repeatElement(.accepted, count: min(count, Self.answersMax)), now: now)
        if entries.allSatisfy({ $0 == .accepted }) { entries = [] }
    }

    /// The number of different tokens with this refusal among the last answers.
    private func tokens(_ refusal: RefusalKind) -> Int {
        var tokens = DistinctTokens()
        for case .refused(refusal, let token) in entries { tokens.insert(token) }
        return tokens.count
    }

    private func hasRecentSuccess(now: Duration) -> Bool {
        acceptedAt.map { now - $0 < settings.successLifetime } ?? false
    }

    /// Whether the last answers show that this refusal concerns the app and not single pushes.
    package func blamesApp(for refusal: RefusalKind, now: Duration) -> Bool {
        let count = tokens(refusal)
        if count >= settings.refusalsMin { return true }
        return refusal == .ownTopic && !hasRecentSuccess(now: now) && count >= settings.topicTokensMin
    }

    /// Assigns the blame for one refusal, after its group was recorded, and counts it.
    ///
    /// - Parameter isAppRefused: whether the app's pushes wait already.
    package mutating func assignBlame(
        for refusal: RefusalKind, of push: PushID, isAppRefused: Bool, now: Duration
    ) -> Blame {
        if isAppRefused || blamesApp(for: refusal, now: now) { return .app }
        switch refusal {
        case .permission: return .push
        case .ownTopic where hasRecentSuccess(now: now): return .push
        case .ownTopic:
            let refusals = counts.count(push)
            return refusals < settings.undecidedMax ? .undecided(refusals: refusals) : .push
        case .credential:
            let refusals = counts.count(push)
            return refusals < settings.contradictedMax ? .undecided(refusals: refusals) : .push
        // Neither can be the fault of a push.
        case .expiredToken, .tokenUpdates: return .undecided(refusals: counts.count(push))
        }
    }

    /// Forgets the last answers, because the app's pushes were accepted again.
    package mutating func clearAnswers() { entries = [] }
}
