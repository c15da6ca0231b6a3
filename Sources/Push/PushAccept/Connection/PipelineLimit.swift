import DequeModule
import NIOCore
import Synchronization

/// Bounds the pipelined requests that all connections together have in work.
///
/// A request is pipelined if its bytes arrive while another request of its connection is open, or while earlier bytes
/// wait. It begins when it has a place; the first request of a connection needs none. Without the bound, clients that
/// pipeline and never read fill the queues of the event loops and of the tasks, and a request of another client waits
/// behind thousands of theirs. Connections wait for a place in the order in which they asked, one request each.
final class PipelineLimit: Sendable {
    /// A connection that waits for a place.
    final class Waiter: Sendable {
        fileprivate let begin: @Sendable () -> Void

        /// - Parameter begin: called on any thread when the connection has a place, which it must return.
        init(begin: @escaping @Sendable () -> Void) {
            self.begin = begin
        }
    }

    static let defaultPlaces = 32

    private struct State {
        var free: Int
        /// Not empty only while no place is free.
        var waiting: Deque<Waiter> = []
    }

    private let places: Int
    private let state: Mutex<State>

    init(places: Int = PipelineLimit.defaultPlaces) {
        self.places = places
        state = Mutex(State(free: places))
    }

    /// Takes a place, or adds `waiter` to those that wait.
    ///
    /// - Returns: whether the place is taken.
    func take(orWait waiter: Waiter) -> Bool {
        state.withLock { state in
            guard state.free > 0 else {
                state.waiting.append(waiter)
                return false
            }
            state.free -= 1
            return true
        }
    }

    /// Returns a place, which the connection that waits longest gets.
    func giveBack() {
        let next = state.withLock { state -> Waiter? in
            guard let next = state.waiting.popFirst() else {
                state.free += 1
                return nil
            }
            return next
        }
        next?.begin()
    }

    /// Removes a connection that has ended.
    ///
    /// - Returns: false if it has just got a place, so that `begin` is still called.
    func cancel(_ waiter: Waiter) -> Bool {
        state.withLock { state in
            guard let index = state.waiting.firstIndex(where: { $0 === waiter }) else { return false }
            state.waiting.remove(at: index)
            return true
        }
    }

    /// The pipelined requests that have a place.
    var inUse: Int { places - state.withLock { $0.free } }

    /// The connections that wait for a place.
    var waitingCount: Int { state.withLock { $0.waiting.count } }
}

/// The open requests of one connection, and the places that they have in `PipelineLimit`.
///
/// A request is open from its header to the end of its response. Used on the event loop of the connection only.
final class OpenRequests {
    private let limit: PipelineLimit
    private(set) var count = 0
    /// Whether the body of the last request has not arrived completely.
    private(set) var isBodyOpen = false
    /// The bytes of that body that have not arrived; nil if the request does not state its length.
    private(set) var bodyBytesLeft: Int?
    private var isWaitingForBody = false
    private var places = 0

    init(limit: PipelineLimit) {
        self.limit = limit
    }

    /// - Parameter bodyBytes: nil if the request does not state the length of its body.
    func begin(bodyBytes: Int?) {
        count += 1
        isBodyOpen = true
        bodyBytesLeft = bodyBytes
    }

    func received(_ bytes: Int) { bodyBytesLeft? -= bytes }

    func endBody() {
        isBodyOpen = false
        isWaitingForBody = false
    }

    /// A response is complete.
    func end() {
        count = max(0, count - 1)
        returnUnusedPlaces()
    }

    // MARK: Places

    /// - Returns: whether the next request may begin; if not, `waiter` waits.
    func takePlace(orWait waiter: PipelineLimit.Waiter) -> Bool {
        guard limit.take(orWait: waiter) else { return false }
        places += 1
        return true
    }

    /// A place that this connection has waited for.
    func receivePlace() { places += 1 }

    /// Returns places that no open request needs. One whose body has not arrived waits for its client and needs none.
    func returnUnusedPlaces() { returnPlaces(over: isWaitingForBody ? count - 1 : count) }

    /// The rest of the body of the last request is read from the client.
    func waitForBody() {
        isWaitingForBody = true
        returnUnusedPlaces()
    }

    /// The client does not read, or is gone.
    func returnAllPlaces() { returnPlaces(over: 0) }

    private func returnPlaces(over number: Int) {
        while places > max(0, number) {
            places -= 1
            limit.giveBack()
        }
    }

    /// - Returns: as `PipelineLimit.cancel`.
    func cancel(_ waiter: PipelineLimit.Waiter) -> Bool { limit.cancel(waiter) }
}
