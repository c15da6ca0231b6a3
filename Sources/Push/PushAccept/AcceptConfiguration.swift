package import PushModel

/// How accept listens and what it takes. Plain values; nothing here reads the environment.
package struct AcceptConfiguration: Sendable {
    /// Address to listen on.
    package var host = "127.0.0.1"
    /// Port to listen on; 0: any that is free.
    package var port = 8025
    /// Connections open at any moment; further ones wait in the kernel's queue.
    package var connectionsMax = 2000

    /// Largest header block of a request, in bytes.
    package var headerBytesMax = 16 * 1024
    /// Most header fields of a request.
    package var headerFieldsMax = 100
    /// From the opening of a connection to the end of its first request's header.
    package var headerTimeout: Duration = .seconds(10)
    /// From a request's header to the end of its body, on all routes but the streaming ones.
    package var bodyTimeout: Duration = .seconds(15)
    /// A connection on which nothing arrives for so long is closed, in the middle of a stream too.
    package var idleTimeout: Duration = .seconds(75)
    /// How long a request's rest is still read after it was answered early, so that the client gets the answer.
    package var lingerTimeout: Duration = .seconds(2)

    /// Largest body of a route that takes one push or one list of ids, and largest item of a batch, in bytes.
    package var itemBytesMax = 64 * 1024
    /// A batch of a bulk request is stored when it has so many pushes, 1...1,000.
    package var batchPushesMax = 500
    /// … or so many bytes.
    package var batchBytesMax = 1024 * 1024
    /// Writes to the store that one bulk request may have under way.
    package var appendsPerRequestMax = 4
    /// Results of one bulk request that may wait until its client reads them; past it the request stops being read.
    package var resultsWaitingMax = 100_000
    /// Ids that one JSON query may hold.
    package var queryIDsMax = 1000

    /// Largest body of a bulk request with an `Idempotency-Key`, which is held whole, in bytes.
    package var idempotentBodyBytesMax = 8 * 1024 * 1024
    /// What such bodies may take together, in bytes.
    package var idempotentBodiesBytesMax = 64 * 1024 * 1024

    /// Requests that each caller may make.
    package var rateLimits = RateLimits()
    /// When new pushes are refused because something is short.
    package var admission = AdmissionLimits()

    /// Bytes of pushes that may be on their way into the store, over all requests.
    package var appendBytesMax = 64 * 1024 * 1024
    /// Pushes of single-push requests that may wait for a write; past it further ones are refused unread.
    package var singlePushesMax = 20_000
    /// How long a batch that is handed to dispatch at once stays claimed.
    package var leaseDuration: Duration = .seconds(30)
    /// What `Retry-After` says with 429 and 503, in seconds.
    package var retryAfterSeconds = 1

    package init() {}

    /// Every problem at once, so that an operator fixes the file in one go.
    package func problems() -> [String] {
        var problems: [String] = []
        func check(_ isSound: Bool, _ text: String) { if !isSound { problems.append(text) } }
        check(!host.isEmpty, "host is empty")
        check((0...65_535).contains(port), "port \(port) is not within 0...65535")
        check(connectionsMax >= 1, "connectionsMax must be at least 1")
        check((1024...1_048_576).contains(headerBytesMax), "headerBytesMax is not within 1024...1048576")
        check((10...1000).contains(headerFieldsMax), "headerFieldsMax is not within 10...1000")
        for (name, value) in [
            ("headerTimeout", headerTimeout), ("bodyTimeout", bodyTimeout), ("idleTimeout", idleTimeout),
            ("lingerTimeout", lingerTimeout), ("leaseDuration", leaseDuration),
        ] { check(value > .zero, "\(name) must be longer than nothing") }
        check((16_384...1_048_576).contains(itemBytesMax), "itemBytesMax is not within 16384...1048576")
        check((1...1000).contains(batchPushesMax), "batchPushesMax is not within 1...1000")
        check((65_536...16_777_216).contains(batchBytesMax), "batchBytesMax is not within 65536...16777216")
        check((1...64).contains(appendsPerRequestMax), "appendsPerRequestMax is not within 1...64")
        check(resultsWaitingMax >= 1000, "resultsWaitingMax must be at least 1000")
        check((1...10_000).contains(queryIDsMax), "queryIDsMax is not within 1...10000")
        check(
            (65_536...268_435_456).contains(idempotentBodyBytesMax),
            "idempotentBodyBytesMax is not within 65536...268435456")
        check(
            idempotentBodiesBytesMax >= idempotentBodyBytesMax,
            "idempotentBodiesBytesMax must be at least idempotentBodyBytesMax")
        problems += rateLimits.problems()
        problems += admission.problems()
        check(appendBytesMax >= batchBytesMax, "appendBytesMax must be at least batchBytesMax")
        check(singlePushesMax >= 1, "singlePushesMax must be at least 1")
        check((1...3600).contains(retryAfterSeconds), "retryAfterSeconds is not within 1...3600")
        return problems
    }
}
