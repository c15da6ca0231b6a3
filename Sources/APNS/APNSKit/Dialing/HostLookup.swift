package import NIOCore
import NIOPosix
import Synchronization

/// Look-ups of host names, shared by all clients of the process: a look-up in progress serves every connection that
/// needs it, and its addresses are used for some seconds.
///
/// Hundreds of clients that connect in one burst would otherwise queue for the few threads that may block in the
/// system's resolver.
package final class HostLookup: Sendable {
    /// How long addresses are used.
    package static let lifetime = TimeAmount.seconds(5)
    /// A look-up that has taken longer gets no more waiters: the name server may answer the next one.
    package static let joinMax = TimeAmount.seconds(2)
    /// Concurrent look-ups of one name. They block a thread each, and cannot be cancelled.
    package static let concurrentMax = 3

    package static let shared = HostLookup { host, port, family, report in
        NIOThreadPool.singleton.submit { _ in
            report(Result { try SystemResolver.addresses(of: host, port: port, family: family) })
        }
    }

    package typealias Report = @Sendable (Result<[SocketAddress], any Error>) -> Void
    package typealias Resolve =
        @Sendable (_ host: String, _ port: Int, _ family: CInt, _ report: @escaping Report) -> Void

    private struct Key: Hashable {
        var host: String
        var port: Int
        var family: CInt
    }

    private struct InProgress {
        var startedAt: NIODeadline
        var waiters: [EventLoopPromise<[SocketAddress]>]
    }

    private struct State {
        var known: [Key: (addresses: [SocketAddress], at: NIODeadline)] = [:]
        /// By the number of the look-up.
        var inProgress: [Key: [UInt64: InProgress]] = [:]
        var number: UInt64 = 0
    }

    private let state = Mutex(State())
    private let resolve: Resolve

    /// - Parameter resolve: looks up a name without blocking, and reports the result once, from any thread.
    package init(resolve: @escaping Resolve) {
        self.resolve = resolve
    }

    /// - Parameters:
    ///   - family: `AF_INET` or `AF_INET6`.
    ///   - since: a look-up that began earlier is not used, because a connection to its addresses has failed.
    /// - Returns: the addresses in random order; an error if there are none.
    package func addresses(
        of host: String, port: Int, family: CInt, since: NIODeadline, on eventLoop: any EventLoop
    ) -> EventLoopFuture<[SocketAddress]> {
        let key = Key(host: host, port: port, family: family)
        let now = eventLoop.now
        let promise = eventLoop.makePromise(of: [SocketAddress].self)
        let (known, number) = state.withLock { state -> ([SocketAddress]?, UInt64?) in
            if let known = state.known[key], known.at >= since, now < known.at + Self.lifetime {
                return (known.addresses, nil)
            }
            let lookups = state.inProgress[key] ?? [:]
            let newest = lookups.max { $0.key < $1.key }
            if let newest,
                lookups.count >= Self.concurrentMax || newest.value.startedAt >= max(since, now - Self.joinMax)
            {
                state.inProgress[key]?[newest.key]?.waiters.append(promise)
                return (nil, nil)
            }
            state.number += 1
            state.inProgress[key, default: [:]][state.number] = InProgress(startedAt: now, waiters: [promise])
            return (nil, state.number)
        }
        if let known {
            promise.succeed(known.shuffled())
        } else if let number {
            resolve(host, port, family) { self.finished(key, number, $0) }
        }
        return promise.futureResult
    }

    private func finished(_ key: Key, _ number: UInt64, _ result: Result<[SocketAddress], any Error>) {
        let waiters = state.withLock { state in
            let lookup = state.inProgress[key]?.removeValue(forKey: number)
            if state.inProgress[key]?.isEmpty == true { state.inProgress[key] = nil }
            if let lookup, case .success(let addresses) = result,
                state.known[key].map({ $0.at < lookup.startedAt }) ?? true
            {
                // Names that are no longer used do not accumulate.
                state.known = state.known.filter { lookup.startedAt < $0.value.at + Self.lifetime }
                state.known[key] = (addresses, lookup.startedAt)
            }
            return lookup?.waiters ?? []
        }
        for waiter in waiters { waiter.completeWith(result.map { $0.shuffled() }) }
    }
}
