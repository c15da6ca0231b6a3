package import PushModel
package import PushStore

/// The address, limits and timeouts of the HTTP server. Plain values; nothing here reads the environment.
package struct AcceptConfiguration: Sendable {
    /// Name or address to bind.
    package var host = "127.0.0.1"
    /// TCP port to bind. 0: any free port.
    package var port = 8025
    /// Names of this server, in addition to addresses and loopback names. A listener on loopback accepts requests for
    /// no other name. On other addresses, empty: every name is accepted.
    package var hosts: [String] = []
    /// Proxies that state the address of the client, in `Forwarded` or `X-Forwarded-For`.
    package var trustedProxies: [AddressRange] = []
    /// Limits of open connections.
    package var connections = ConnectionLimits()
    /// Limit of the bytes that all connections hold in memory: see `HeldBytes`.
    package var heldBytesMax = 128 * 1024 * 1024

    /// Limit of a request's header block, in bytes.
    package var headerBytesMax = 16 * 1024
    /// Limit of a request's header fields.
    package var headerFieldsMax = 100
    /// Time from the first byte of a request to the end of its header. For the first request of a connection it begins
    /// with the connection.
    package var headerTimeout: Duration = .seconds(10)
    /// Time from the end of a request's header to the end of its body, except on streaming routes.
    package var bodyTimeout: Duration = .seconds(15)
    /// A connection is closed if no byte arrives for this time, also within a stream.
    package var idleTimeout: Duration = .seconds(75)
    /// A connection is closed if its client reads nothing for this time although a response waits.
    package var writeTimeout: Duration = .seconds(30)
    /// How long the rest of a request is read and ignored after an early response, so that the client can read the
    /// response.
    package var lingerTimeout: Duration = .seconds(2)

    /// Limit of a body with one push or one list of ids, and of one item of a bulk request, in bytes.
    package var itemBytesMax = 256 * 1024
    /// A batch is closed when it has this number of pushes, 1...1,000.
    package var batchPushesMax = 500
    /// A batch of a bulk request is also closed when it has this number of bytes.
    package var batchBytesMax = 1024 * 1024
    /// Limit of concurrent writes to the store for one bulk request.
    package var appendsPerRequestMax = 4
    /// Limit of results of one bulk request that wait for a slow client, in runs. Beyond it, the request is stopped.
    package var resultsWaitingMax = 100_000
    /// Limit of ids in one JSON query.
    package var queryIDsMax = 1000

    /// Limit of the body of a bulk request with an `Idempotency-Key`, which is buffered, in bytes.
    package var idempotentBodyBytesMax = 8 * 1024 * 1024
    /// Limit of all such bodies together, in bytes.
    package var idempotentBodiesBytesMax = 64 * 1024 * 1024

    /// Limit of the stored responses of requests with an `Idempotency-Key`, which are kept for 24 hours.
    package var storedResponses = IdempotencyUsage(records: 1_000_000, bytes: 1024 * 1024 * 1024)

    /// The rate limits of callers and devices.
    package var rateLimits = RateLimits()
    /// The loads beyond which new pushes are refused.
    package var admission = AdmissionLimits()

    /// Limit of pushes that are being written to the store, in bytes, for all requests together.
    package var appendBytesMax = 64 * 1024 * 1024
    /// Limit of pushes of single-push requests that wait for a write. Further ones are refused before they are read.
    package var singlePushesMax = 20_000
    /// Lease of a batch that is handed directly to dispatch.
    package var leaseDuration: Duration = .seconds(30)
    /// `Retry-After` of a temporary refusal that has no time of its own, in seconds.
    package var retryAfterSeconds = 1

    /// Whether single pushes are served on the event loop of their connection. Otherwise a route of Hummingbird serves
    /// them, as it serves those with an `Idempotency-Key`; the tests compare the two.
    package var servesPushesOnEventLoop = true

    package init() {}

    /// All problems, so that an operator can correct them together. Empty: the configuration is valid.
    package func problems() -> [String] {
        var problems: [String] = []
        func check(_ isSound: Bool, _ text: String) { if !isSound { problems.append(text) } }
        check(!host.isEmpty, "host is empty")
        check((0...65_535).contains(port), "port \(port) is not within 0...65535")
        problems += connections.problems()
        check(
            (16_777_216...68_719_476_736).contains(heldBytesMax), "heldBytesMax is not within 16777216...68719476736")
        check((1024...1_048_576).contains(headerBytesMax), "headerBytesMax is not within 1024...1048576")
        check((10...1000).contains(headerFieldsMax), "headerFieldsMax is not within 10...1000")
        for (name, value) in [
            ("headerTimeout", headerTimeout), ("bodyTimeout", bodyTimeout), ("idleTimeout", idleTimeout),
            ("writeTimeout", writeTimeout), ("lingerTimeout", lingerTimeout), ("leaseDuration", leaseDuration),
        ] { check(value > .zero, "\(name) must be greater than zero") }
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
        check(storedResponses.records >= 1, "storedResponses.records must be at least 1")
        check(storedResponses.bytes >= 65_536, "storedResponses.bytes must be at least 65536")
        problems += rateLimits.problems()
        problems += admission.problems()
        check(appendBytesMax >= batchBytesMax, "appendBytesMax must be at least batchBytesMax")
        check(singlePushesMax >= 1, "singlePushesMax must be at least 1")
        check((1...3600).contains(retryAfterSeconds), "retryAfterSeconds is not within 1...3600")
        return problems
    }
}
