import PushConcurrency
import Synchronization
import Testing

@Suite struct `Latches` {
    private final class Shared: Sendable {
        let latch = AsyncLatch()
        let result = Mutex<Int?>(nil)
    }

    @Test func `an open latch lets every task pass`() async {
        let latch = AsyncLatch()
        latch.open()
        await latch.wait()
        latch.open()
        await latch.wait()
    }

    @Test(arguments: [false, true])
    func `all waiting tasks see what was written before the latch opened`(isCancelled: Bool) async {
        let shared = Shared()
        await withTaskGroup { group in
            for _ in 0..<500 {
                group.addTask {
                    await shared.latch.wait()
                    #expect(shared.result.withLock { $0 } == 7)
                }
            }
            if isCancelled { group.cancelAll() }
            for _ in 0..<10 { await Task.yield() }
            shared.result.withLock { $0 = 7 }
            shared.latch.open()
        }
    }
}
