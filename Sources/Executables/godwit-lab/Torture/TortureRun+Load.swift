import Foundation
import Synchronization

/// One of the run's clients: sends request after request, and each again under its key until it is answered.
extension TortureRun {
    /// Pushes of bulk requests in every hundred.
    private static let bulkPercent = 80
    /// How long a request is repeated after the load is over.
    private static let repeatMax: Duration = .seconds(60)

    func work(isBulk: Bool, since begin: ContinuousClock.Instant) async throws {
        while let order = try await nextOrder(isBulk: isBulk, since: begin) {
            try clientLog.append([ClientLine(at: TortureTime.now, sent: order.sent)])
            try await send(order)
        }
    }

    /// Waits until it is time for one more.
    ///
    /// - Returns: nil when there are no more.
    private func nextOrder(isBulk: Bool, since begin: ContinuousClock.Instant) async throws -> TortureLoad.Order? {
        let share = Double(isBulk ? Self.bulkPercent : 100 - Self.bulkPercent) / 100
        while true {
            let due = Double(options.rate) * share * ((ContinuousClock.now - begin) / .seconds(1))
            let order: TortureLoad.Order? = state.withLock { state in
                guard !state.isOver, Double(isBulk ? state.offeredBulk : state.offered - state.offeredBulk) < due
                else { return nil }
                let order = load.order(
                    state.requests, isBulk: isBulk, first: state.offered, now: TortureTime.now / 1000)
                state.requests += 1
                state.offered += order.sent.count
                if isBulk { state.offeredBulk += order.sent.count }
                return order
            }
            if let order { return order }
            if state.withLock({ $0.isOver }) { return nil }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    private func send(_ order: TortureLoad.Order) async throws {
        let body = load.body(of: order.sent)
        let key = "torture-\(options.seed)-\(order.sent.request)"
        var giveUpAt: ContinuousClock.Instant?
        while true {
            let reply = await client.send(order, body: body, key: key)
            try note(reply, of: order)
            if reply.isComplete {
                if order.isCancelled { try await cancel(reply.items.compactMap(\.id)) }
                return
            }
            if giveUpAt == nil, state.withLock({ $0.isOver }) { giveUpAt = ContinuousClock.now + Self.repeatMax }
            if let giveUpAt, ContinuousClock.now > giveUpAt { return }
            try await Task.sleep(for: max(reply.retryAfter ?? .zero, .milliseconds(50)))
            while await !client.isReady() {
                if let giveUpAt, ContinuousClock.now > giveUpAt { return }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    private func cancel(_ ids: [String]) async throws {
        guard !ids.isEmpty else { return }
        func lines(_ ids: [String], isConfirmed: Bool) -> [ClientLine] {
            ids.map {
                ClientLine(at: TortureTime.now, cancelled: CancelledPush(id: $0, isConfirmed: isConfirmed))
            }
        }
        try clientLog.append(lines(ids, isConfirmed: false))
        let confirmed = await client.cancel(ids)
        try clientLog.append(lines(confirmed, isConfirmed: true))
    }

    private func note(_ reply: TortureClient.Reply, of order: TortureLoad.Order) throws {
        guard !reply.items.isEmpty else { return }
        let answer = CompletedRequest(request: order.sent.request, status: reply.status, items: reply.items)
        try clientLog.append([ClientLine(at: TortureTime.now, answered: answer)])
        state.withLock { $0.ids += reply.items.compactMap(\.id) }
    }
}
