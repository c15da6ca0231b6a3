import PushConcurrency
import Synchronization
import Testing

@Suite struct `Signals` {
    private final class Flag: Sendable {
        private let value = Mutex(false)
        var isSet: Bool { value.withLock { $0 } }
        func set() { value.withLock { $0 = true } }
    }

    private final class Counter: Sendable {
        private let value = Mutex(0)
        var count: Int { value.withLock { $0 } }
        func increment() { value.withLock { $0 += 1 } }
    }

    @Test func `a signal set before the wait ends it immediately`() async {
        let signal = AsyncSignal()
        signal.set()
        await signal.wait()
    }

    @Test func `several signals end one wait`() async {
        let signal = AsyncSignal()
        for _ in 0..<3 { signal.set() }
        await signal.wait()
        let signalled = Flag()
        await withTaskGroup { group in
            group.addTask {
                await signal.wait()
                #expect(signalled.isSet, "the second wait needs a signal of its own")
            }
            for _ in 0..<10 { await Task.yield() }
            signalled.set()
            signal.set()
        }
    }

    @Test func `a waiting task sees every change that is followed by a signal`() async {
        let signal = AsyncSignal()
        let counter = Counter()
        await withTaskGroup { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<1000 {
                        counter.increment()
                        signal.set()
                    }
                }
            }
            while counter.count < 4000 { await signal.wait() }
        }
    }

    @Test func `cancellation ends a wait`() async {
        let signal = AsyncSignal()
        await withTaskGroup { group in
            group.addTask { await signal.wait() }
            group.cancelAll()
        }
    }

    @Test func `a wait that ignores cancellation needs a signal`() async {
        let signal = AsyncSignal()
        let signalled = Flag()
        await withTaskGroup { group in
            group.addTask {
                await signal.waitIgnoringCancellation()
                #expect(Task.isCancelled)
                #expect(signalled.isSet)
            }
            group.cancelAll()
            for _ in 0..<10 { await Task.yield() }
            signalled.set()
            signal.set()
        }
    }
}
