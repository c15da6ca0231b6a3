import Foundation
import Synchronization

// The clients of a run: each sends one request after the other, and repeats a request with its key until the response
// is final.
extension TortureRun {
    /// Percentage of pushes that are sent in bulk requests.
    private static let bulkPercent = 80
    /// How long a request is repeated after the end of the load.
    private static let repeatMax: Duration = .seconds(60)

    func runClient(isBulk: Bool, since start: ContinuousClock.Instant) async throws {
        while let request = try await nextRequest(isBulk: isBulk, since: start) {
            try clientLog.append([ClientLine(at: TortureTime.now, sent: request.sent)])
            try await send(request)
        }
    }

    /// Waits until the next request is due at the rate of the run.
    ///
    /// - Returns: nil when the load is over.
    private func nextRequest(
        isBulk: Bool, since start: ContinuousClock.Instant
    ) async throws -> TortureLoad.PlannedRequest? {
        let share = Double(isBulk ? Self.bulkPercent : 100 - Self.bulkPercent) / 100
        while true {
            let due = Double(options.rate) * share * ((ContinuousClock.now - start) / .seconds(1))
            let request: TortureLoad.PlannedRequest? = state.withLock { state in
                guard !state.isOver, Double(isBulk ? state.offeredBulk : state.offered - state.offeredBulk) < due
                else { return nil }
                let request = load.request(
                    state.requests, isBulk: isBulk, first: state.offered, now: TortureTime.now / 1000)
                state.requests += 1
                state.offered += request.sent.count
                if isBulk { state.offeredBulk += request.sent.count }
                return request
            }
            if let request { return request }
            if state.withLock({ $0.isOver }) { return nil }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    private func send(_ request: TortureLoad.PlannedRequest) async throws {
        let body = load.body(of: request.sent)
        let key = "torture-\(options.seed)-\(request.sent.request)"
        var deadline: ContinuousClock.Instant?
        while true {
            let response = await client.send(request, body: body, key: key)
            try log(response, to: request)
            if response.isComplete {
                if request.isCancelled { try await cancel(response.items.compactMap(\.id)) }
                return
            }
            if deadline == nil, state.withLock({ $0.isOver }) { deadline = ContinuousClock.now + Self.repeatMax }
            if let deadline, ContinuousClock.now > deadline { return }
            try await Task.sleep(for: max(response.retryAfter ?? .zero, .milliseconds(50)))
            while await !client.isReady() {
                if let deadline, ContinuousClock.now > deadline { return }
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

    private func log(_ response: TortureClient.Response, to request: TortureLoad.PlannedRequest) throws {
        guard !response.items.isEmpty else { return }
        let completed = CompletedRequest(
            request: request.sent.request, status: response.status, items: response.items)
        try clientLog.append([ClientLine(at: TortureTime.now, completed: completed)])
        state.withLock { $0.ids += response.items.compactMap(\.id) }
    }
}
