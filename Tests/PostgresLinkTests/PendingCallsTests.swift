#if Postgres
import PostgresLink
import PushTesting
import Testing

@Suite struct `Calls that wait for PostgreSQL` {
    private let start = ContinuousClock.Instant.now

    private func call(bytes: Int = 1, deadline: Int = 60) -> PostgresPendingCall {
        PostgresPendingCall(calls: [], bytes: bytes, deadline: start + .seconds(deadline), completion: { _ in })
    }

    private func isWake(_ offer: PendingCalls.Offer) -> Bool {
        if case .wake = offer { true } else { false }
    }

    @Test func `they are taken in order, and one that is put back is first`() {
        var pending = PendingCalls(countMax: 10, bytesMax: 100)
        for bytes in 1...3 { _ = pending.offer(call(bytes: bytes)) }
        let first = pending.take()
        #expect(first?.bytes == 1)
        if let first { pending.putBack(first) }
        #expect((0..<4).map { _ in pending.take()?.bytes } == [1, 2, 3, nil])
        if let first { pending.putBack(first) }
        #expect(pending.count == 1)
        // The store of taken calls stays small under a load that never ends.
        for bytes in 0..<1000 {
            _ = pending.offer(call(bytes: bytes % 7))
            _ = pending.take()
        }
        #expect(pending.count == 1)
    }

    @Test func `expired ones are taken, whatever their place`() {
        var pending = PendingCalls(countMax: 10, bytesMax: 100)
        for deadline in [9, 2, 5] { _ = pending.offer(call(bytes: deadline, deadline: deadline)) }
        #expect(pending.takeExpired(start + .seconds(1)).isEmpty)
        #expect(pending.takeExpired(start + .seconds(5)).map(\.bytes) == [2, 5])
        #expect(pending.count == 1)
        #expect(pending.takeExpired(start + .seconds(9)).map(\.bytes) == [9])
        #expect(pending.takeExpired(start + .seconds(100)).isEmpty)
    }

    @Test func `the thread is woken if it must be, and once`() {
        var pending = PendingCalls(countMax: 10, bytesMax: 100)
        #expect(!isWake(pending.offer(call())))
        #expect(!pending.sleep(until: nil, isIdle: true).sleeps, "there is a call")
        _ = pending.take()
        #expect(pending.sleep(until: nil, isIdle: true) == (true, nil))
        #expect(isWake(pending.offer(call(deadline: 60))))
        #expect(!isWake(pending.offer(call(deadline: 60))))
        // While a call runs, only one with an earlier deadline wakes the thread.
        #expect(pending.sleep(until: start + .seconds(90), isIdle: false) == (true, start + .seconds(60)))
        #expect(!isWake(pending.offer(call(deadline: 60))))
        #expect(isWake(pending.offer(call(deadline: 59))))
        _ = pending.sleep(until: start + .seconds(90), isIdle: false)
        pending.woke()
        #expect(!isWake(pending.offer(call(deadline: 1))))
    }

    @Test func `a drain ends the sleep and refuses calls`() {
        var pending = PendingCalls(countMax: 10, bytesMax: 100)
        pending.drain(until: start + .seconds(9))
        pending.drain(until: start + .seconds(3))
        pending.drain(until: start + .seconds(5))
        #expect(pending.phase == .draining(until: start + .seconds(3)))
        #expect(!pending.sleep(until: nil, isIdle: true).sleeps)
        #expect(pending.sleep(until: start + .seconds(20), isIdle: false) == (true, start + .seconds(3)))
        guard case .refused(let error) = pending.offer(call()) else {
            Issue.record("it was accepted")
            return
        }
        #expect(error.kind == .closed)
    }

    @Test func `hosts are tried from another one on`() throws {
        let url = try ConnectionString("postgres://a@one:1,two:2,three:3/db")
        #expect(url.hosts(from: 1).map(\.1) == ["two,three,one", "2,3,1"])
        #expect(url.hosts(from: 3).map(\.1) == ["one,two,three", "1,2,3"])
        let words = try ConnectionString("host=one,two port=5432 dbname=x")
        #expect(words.hosts(from: 1).map(\.0) == ["host"], "one port is for all hosts")
        #expect(try ConnectionString("host=one").hosts(from: 1).isEmpty)
        #expect(try ConnectionString("service=fleet").hosts(from: 1).isEmpty)
    }

    @Test func `many threads offer, cancel and close without a lost answer`() async throws {
        let server = try await PostgresServer.shared
        let connections = try (0..<3).map { _ in
            var configuration = configuration(server.connectionString())
            configuration.waitingCallsMax = 8
            configuration.applicationName = "stress"
            return try PostgresConnection(configuration)
        }
        let statement = PostgresStatement("double", [.int8], "SELECT $1 * 2")
        let counts = await withTaskGroup(of: [Int].self) { group in
            for task in 0..<12 {
                group.addTask {
                    var counts = [0, 0]
                    for round in 0..<150 {
                        var parameters = PostgresParameters()
                        parameters.append(Int64(round))
                        let connection = connections[(task + round) % 3]
                        let timeout: Duration = round % 10 == 0 ? .microseconds(200) : .seconds(30)
                        do {
                            let rows = try await connection.run(statement, parameters, within: timeout)
                            let value: Int64 = try rows.value(0, 0)
                            counts[value == Int64(round * 2) ? 0 : 1] += 1
                        } catch let error as PostgresError {
                            if !error.isTransient && error.kind != .closed { counts[1] += 1 }
                        } catch {
                            counts[1] += 1
                        }
                        if task == 0, round == 100 { await connections[0].close(within: .zero) }
                    }
                    return counts
                }
            }
            return await group.reduce([0, 0]) { [$0[0] + $1[0], $0[1] + $1[1]] }
        }
        #expect(counts[0] > 0)
        #expect(counts[1] == 0)
        for connection in connections { await connection.close() }
        try await server.waitForBlocked("stress", count: 0)
    }
}
#endif
