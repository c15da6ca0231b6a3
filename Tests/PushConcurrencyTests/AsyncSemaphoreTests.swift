import PushConcurrency
import Synchronization
import Testing

@Suite struct `Semaphores` {
    private final class Usage: Sendable {
        private let units = Mutex(0)

        func add(_ change: Int) -> Int {
            units.withLock {
                $0 += change
                return $0
            }
        }
    }

    private final class Order: Sendable {
        private let numbers = Mutex<[Int]>([])
        var all: [Int] { numbers.withLock { $0 } }
        func append(_ number: Int) { numbers.withLock { $0.append(number) } }
    }

    @Test func `never hand out more than their capacity`() async {
        let semaphore = AsyncSemaphore(capacity: 10)
        let usage = Usage()
        await withTaskGroup { group in
            for number in 0..<200 {
                group.addTask {
                    let units = number % 10 + 1
                    await semaphore.acquire(units)
                    #expect(usage.add(units) <= 10)
                    await Task.yield()
                    _ = usage.add(-units)
                    semaphore.release(units)
                }
            }
        }
        await semaphore.acquire(10)
        #expect(semaphore.waitingCount == 0)
    }

    @Test func `serve tasks in the order of arrival`() async {
        let semaphore = AsyncSemaphore(capacity: 4)
        let order = Order()
        await semaphore.acquire(4)
        await withTaskGroup { group in
            // The second asks for more than the first release returns, and the third is not served before it.
            for (number, units) in [1, 4, 1, 1].enumerated() {
                group.addTask {
                    await semaphore.acquire(units)
                    order.append(number)
                    semaphore.release(units)
                }
                while semaphore.waitingCount <= number { await Task.yield() }
            }
            semaphore.release(2)
            while semaphore.waitingCount > 3 { await Task.yield() }
            #expect(semaphore.waitingCount == 3)
            semaphore.release(2)
        }
        let served = order.all
        #expect(served.prefix(2) == [0, 1])
        #expect(served.sorted() == [0, 1, 2, 3])
    }

    @Test func `a cancelled task still acquires`() async {
        let semaphore = AsyncSemaphore(capacity: 1)
        await semaphore.acquire(1)
        await withTaskGroup { group in
            group.addTask {
                await semaphore.acquire(1)
                semaphore.release(1)
            }
            group.cancelAll()
            while semaphore.waitingCount == 0 { await Task.yield() }
            semaphore.release(1)
        }
        #expect(semaphore.waitingCount == 0)
    }
}
