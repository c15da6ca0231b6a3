import NIOCore
import Synchronization
import Testing

@testable import PushAccept

@Suite struct `The limit of pipelined requests` {
    @Test func `places go to the connection that waits longest`() {
        let limit = PipelineLimit(places: 1)
        let begun = Mutex<[String]>([])
        func waiter(_ name: String) -> PipelineLimit.Waiter {
            PipelineLimit.Waiter { begun.withLock { $0.append(name) } }
        }
        let (first, second, third, fourth) = (waiter("1"), waiter("2"), waiter("3"), waiter("4"))
        #expect(limit.take(orWait: first))
        #expect([second, third, fourth].map { limit.take(orWait: $0) } == [false, false, false])
        #expect(limit.cancel(third))
        limit.giveBack()
        #expect(begun.withLock { $0 } == ["2"])
        #expect(!limit.cancel(second), "it has its place already")
        limit.giveBack()
        limit.giveBack()
        #expect(begun.withLock { $0 } == ["2", "4"])
        #expect(limit.inUse == 0)
    }

    @Test func `a connection has at most a place for each open request`() {
        let limit = PipelineLimit(places: 4)
        let waiter = PipelineLimit.Waiter {}
        let requests = OpenRequests(limit: limit)
        requests.begin(bodyBytes: nil)
        requests.endBody()
        for _ in 0..<3 {
            #expect(requests.takePlace(orWait: waiter))
            requests.begin(bodyBytes: nil)
            requests.endBody()
        }
        #expect(limit.inUse == 3)
        #expect(requests.takePlace(orWait: waiter))
        // The bytes were no request.
        requests.end()
        #expect(limit.inUse == 3)
        requests.end()
        #expect(limit.inUse == 2)
        requests.returnAllPlaces()
        #expect(limit.inUse == 0)
    }

    @Test func `a request that waits for its body has no place`() {
        let limit = PipelineLimit(places: 4)
        let requests = OpenRequests(limit: limit)
        requests.begin(bodyBytes: nil)
        requests.endBody()
        #expect(requests.takePlace(orWait: PipelineLimit.Waiter {}))
        requests.begin(bodyBytes: nil)
        requests.returnUnusedPlaces()
        #expect(limit.inUse == 1)
        // The first request may be in work still.
        requests.waitForBody()
        requests.end()
        #expect(limit.inUse == 0)
        requests.endBody()
        requests.end()
        #expect(requests.count == 0)
        #expect(limit.inUse == 0)
    }

    private static let places = PipelineLimit.defaultPlaces

    private static func post(_ number: Int) -> String {
        let body = pushLine(number)
        return "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    @Test func `pipelined requests wait, and the first ones of other connections are served`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.blockAppends()
            let port = gateway.port
            let count = Self.places + 36
            let clients = try await onThread {
                try (0..<count).map { number in
                    let client = try WireClient(port: port)
                    try client.send(Self.post(2 * number) + Self.post(2 * number + 1))
                    return client
                }
            }
            await gateway.waitUntil("godwit_accept_pipelined_requests \(Self.places)")
            await gateway.waitUntil("godwit_accept_pipelines_waiting 36")
            // All but the one whose commit is blocked.
            await gateway.waitUntil("godwit_accept_waiting_pushes \(count + Self.places - 1)")
            #expect(try await gateway.send("GET", "/healthz").status == 200)
            async let honest = gateway.post("/push", pushLine(9999))
            await gateway.waitUntil("godwit_accept_waiting_pushes \(count + Self.places)")
            gateway.queue.unblockAppends()
            #expect(try await honest.status == 200)
            let responses = try await onThread { try clients.map { try $0.readResponses(2) } }
            #expect(responses.allSatisfy { $0.map(\.status) == [200, 200] })
            await gateway.waitUntil("godwit_accept_pipelined_requests 0")
            await gateway.waitUntil("godwit_accept_pipelines_waiting 0")
        }
    }

    @Test func `connections that end leave no places behind`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.blockAppends()
            let port = gateway.port
            let clients = try await onThread {
                try (0..<Self.places + 10).map { number in
                    let client = try WireClient(port: port)
                    try client.send(Self.post(2 * number) + Self.post(2 * number + 1))
                    return client
                }
            }
            await gateway.waitUntil("godwit_accept_pipelines_waiting 10")
            for client in clients { client.close() }
            gateway.queue.unblockAppends()
            await gateway.waitUntil("godwit_accept_connections 0")
            await gateway.waitUntil("godwit_accept_pipelined_requests 0")
            await gateway.waitUntil("godwit_accept_pipelines_waiting 0")
        }
    }

    @Test func `requests that wait for their clients keep no others waiting`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            let health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            let (slow, statuses) = try await onThread {
                let slow = try (0..<Self.places + 10).map { _ in
                    let client = try WireClient(port: port)
                    try client.send("\(health)POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
                    _ = try client.read(until: "ok\n")
                    return client
                }
                let client = try WireClient(port: port)
                try client.send(health + health + health)
                return (slow, try client.readResponses(3).map(\.status))
            }
            #expect(statuses == [200, 200, 200])
            for client in slow { client.close() }
        }
    }
}
