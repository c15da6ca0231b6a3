import PostgresLink
import Testing

/// The decisions of the link, which need no server.
@Suite struct `Decisions of the PostgreSQL link` {
    // MARK: - Reconnects

    private let start = ContinuousClock.Instant.now

    @Test func `the delay doubles up to its limit, with full jitter`() {
        var policy = PostgresReconnectPolicy(base: .milliseconds(100), cap: .seconds(5))
        #expect(policy.next(after: start) == start)
        var now = start
        var delays: [Duration] = []
        for _ in 0..<9 {
            policy.started(now)
            policy.failed(now, random: 0.999_999)
            // Far enough apart for the limit of attempts in a second not to matter.
            let earlier = now
            now += .seconds(10)
            delays.append(policy.next(after: now) - earlier)
        }
        let expected: [Duration] = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5].map { .seconds($0) }
        for (delay, limit) in zip(delays, expected) { #expect(delay < limit && delay > limit * 0.99) }
        policy.failed(now, random: 0)
        #expect(policy.next(after: now) == now)
        policy.failed(now, random: 0.5)
        #expect(policy.next(after: now) == now + .seconds(2.5))
        policy.skipDelay()
        #expect(policy.next(after: now) == now)
        policy.failed(now, random: 0.5)
        policy.succeeded()
        #expect(policy.next(after: now) == now)
    }

    @Test func `no second sees more than two attempts`() {
        var policy = PostgresReconnectPolicy(base: .milliseconds(100), cap: .seconds(5))
        var attempts: [ContinuousClock.Instant] = []
        var now = start
        while attempts.count < 100 {
            now = max(now + .microseconds(10), policy.next(after: now))
            policy.started(now)
            attempts.append(now)
            // Sessions that end immediately, and failures without a delay.
            if attempts.count.isMultiple(of: 3) { policy.failed(now, random: 0) } else { policy.succeeded() }
            policy.skipDelay()
        }
        for index in 2..<attempts.count { #expect(attempts[index] - attempts[index - 2] >= .seconds(1)) }
    }

    // MARK: - Errors

    private func failure(
        _ sqlState: String, isFatal: Bool = false, function: String = "", hasExecuted: Bool = false
    ) -> ServerFailure {
        ServerFailure(
            sqlState: sqlState, isFatal: isFatal, message: "m", function: function, hasExecuted: hasExecuted)
    }

    @Test(
        arguments: [
            ("53100", .full, .report), ("53200", .full, .report), ("XX001", .broken, .report),
            ("XX002", .broken, .report),
            ("40001", .conflict, .repeatCall), ("40P01", .conflict, .repeatCall), ("23505", .invalid, .report),
            ("42601", .invalid, .report), ("22P03", .invalid, .report), ("0A000", .invalid, .report),
            ("57014", .unavailable(isOutcomeKnown: true), .report),
            ("55P03", .unavailable(isOutcomeKnown: true), .report),
            ("57P01", .unavailable(isOutcomeKnown: true), .replaceSession),
            ("08006", .unavailable(isOutcomeKnown: true), .replaceSession),
            ("08007", .unavailable(isOutcomeKnown: false), .replaceSession),
            ("53300", .unavailable(isOutcomeKnown: true), .report),
            ("XX000", .unavailable(isOutcomeKnown: true), .report),
            ("25006", .unavailable(isOutcomeKnown: true), .repeatInNewSession),
            ("26000", .unavailable(isOutcomeKnown: true), .repeatInNewSession),
            ("25P02", .unavailable(isOutcomeKnown: true), .replaceSession),
        ] as [(String, PostgresError.Kind, ServerFailure.Remedy)])
    func `a SQLSTATE has one meaning`(_ row: (String, PostgresError.Kind, ServerFailure.Remedy)) {
        let failure = failure(row.0)
        #expect(failure.error.kind == row.1)
        #expect(failure.remedy == row.2)
        #expect(failure.error.sqlState == row.0)
    }

    @Test func `an outcome is unknown only if the session ends after all was executed`() {
        for sqlState in ["57P01", "57P02", "53100", "40001", "XX000", ""] {
            #expect(
                failure(sqlState, isFatal: true, hasExecuted: true).error.kind == .unavailable(isOutcomeKnown: false))
            #expect(failure(sqlState, isFatal: true, hasExecuted: true).remedy == .replaceSession)
        }
        #expect(failure("57P01", isFatal: true).error.kind == .unavailable(isOutcomeKnown: true))
        #expect(failure("", isFatal: true).error.kind == .unavailable(isOutcomeKnown: true))
        #expect(failure("40001", hasExecuted: true).error.kind == .conflict, "an error of the commit rolls back")
        #expect(failure("53100", isFatal: true).remedy == .replaceSession)
    }

    @Test func `a cached plan that is out of date needs a new session`() {
        #expect(failure("0A000", function: "RevalidateCachedQuery").remedy == .repeatInNewSession)
    }

    @Test func `messages become one short line`() {
        #expect(
            ServerMessage.sentence("connection failed:  FATAL:  no.\n\nis it there?\n")
                == "connection failed: FATAL: no; is it there?")
        #expect(ServerMessage.sentence("") == "no message")
        #expect(ServerMessage.sentence(String(repeating: "a", count: 5000)).utf8.count <= ServerMessage.lengthMax + 3)
        #expect(ServerMessage.sentence("invalid input: \"value\"", sqlState: "22P02") == "invalid input: \"…\"")
        #expect(ServerMessage.sentence("relation \"t\" does not exist", sqlState: "42P01").contains("\"t\""))
        #expect(ServerMessage.withoutQuotes("a \"b\" c \"d") == "a \"…\" c \"…")
    }

    @Test func `an error says what, which SQLSTATE and which statement`() {
        let error = PostgresError(.invalid, "no", sqlState: "42601", statement: "append")
        #expect(error.description == "PostgreSQL: no [42601] (statement append)")
        #expect(PostgresError(.closed, "closed").description == "PostgreSQL: closed")
        let transient: [PostgresError.Kind] = [.full, .unavailable(isOutcomeKnown: false), .conflict, .overloaded]
        #expect(transient.allSatisfy { PostgresError($0, "").isTransient })
        #expect([PostgresError.Kind.broken, .invalid, .closed].allSatisfy { !PostgresError($0, "").isTransient })
    }
}
