// The logs of a torture run: one JSON object per line. Times are UNIX milliseconds by the clock of the machine, which
// clients, simulator and gateway share. Devices are numbered; no log contains a device token.

/// `client.log`: requests and responses of the clients.
package struct ClientLine: Codable, Equatable, Sendable {
    package var at: Int64
    package var sent: SentRequest?
    package var completed: CompletedRequest?
    package var cancelled: CancelledPush?

    package init(
        at: Int64, sent: SentRequest? = nil, completed: CompletedRequest? = nil, cancelled: CancelledPush? = nil
    ) {
        self.at = at
        self.sent = sent
        self.completed = completed
        self.cancelled = cancelled
    }
}

/// A request, logged before it is sent. Each of its pushes is for a device of its own: `first`, `first` + 1 …
package struct SentRequest: Codable, Equatable, Sendable {
    package var request: Int
    package var app: String
    package var lane: String
    package var first: Int
    package var count: Int
    /// UNIX seconds.
    package var expiration: Int64?
    /// UNIX seconds.
    package var notBefore: Int64?
    /// Whether its pushes have `on_unanswered: drop`.
    package var dropsUnanswered: Bool?

    package init(
        request: Int, app: String, lane: String, first: Int, count: Int, expiration: Int64? = nil,
        notBefore: Int64? = nil, dropsUnanswered: Bool? = nil
    ) {
        self.request = request
        self.app = app
        self.lane = lane
        self.first = first
        self.count = count
        self.expiration = expiration
        self.notBefore = notBefore
        self.dropsUnanswered = dropsUnanswered
    }
}

/// The response to a request, as far as it arrived. A request without a response has no such line; a request that was
/// repeated with its key may have several.
package struct CompletedRequest: Codable, Equatable, Sendable {
    package enum Result: String, Codable, Sendable {
        case accepted, refused
        /// The gateway could not confirm whether the push is accepted.
        case unknown
    }

    package struct Item: Codable, Equatable, Sendable {
        package var id: String?
        package var result: Result

        package init(id: String?, result: Result) {
            self.id = id
            self.result = result
        }
    }

    package var request: Int
    /// The HTTP status; 0 without a response.
    package var status: Int
    /// By index in the request; shorter than the request if the response was truncated.
    package var items: [Item]

    package init(request: Int, status: Int, items: [Item]) {
        self.request = request
        self.status = status
        self.items = items
    }
}

/// The cancellation of a push, logged before it is requested, and again when the gateway has confirmed it.
package struct CancelledPush: Codable, Equatable, Sendable {
    package var id: String
    package var isConfirmed: Bool

    package init(id: String, isConfirmed: Bool) {
        self.id = id
        self.isConfirmed = isConfirmed
    }
}

/// `apns.log`: a push that the simulator received.
package struct APNSLine: Codable, Equatable, Sendable {
    package var at: Int64
    package var id: String
    /// nil: a device token that is not from this run.
    package var device: Int?
    package var topic: String
    /// Whether the payload is the one that was sent to this device.
    package var isIntact: Bool
    /// The status of the answer; 0: no answer.
    package var status: Int
    package var reason: String?
    /// Whether APNs delivers the push, whatever its answer.
    package var isTaken: Bool
    package var connection: UInt64

    package init(
        at: Int64, id: String, device: Int?, topic: String, isIntact: Bool, status: Int, reason: String? = nil,
        isTaken: Bool, connection: UInt64
    ) {
        self.at = at
        self.id = id
        self.device = device
        self.topic = topic
        self.isIntact = isIntact
        self.status = status
        self.reason = reason
        self.isTaken = isTaken
        self.connection = connection
    }
}

/// `store.log`: the state of a push from the gateway's API, polled during the run and at its end.
package struct StoreLine: Codable, Equatable, Sendable {
    package var at: Int64
    package var id: String
    package var state: String
    /// The error code; 0: none.
    package var code: Int

    package init(at: Int64, id: String, state: String, code: Int) {
        self.at = at
        self.id = id
        self.state = state
        self.code = code
    }
}

/// `events.log`: what the run did to gateway and simulator.
package struct EventLine: Codable, Equatable, Sendable {
    package enum Kind: String, Codable, Sendable {
        /// The first line, with the `seed` of the run.
        case runStarted
        case started
        /// `kill -9`.
        case killed
        /// SIGTERM was sent.
        case stopRequested
        /// The gateway exited after SIGTERM with `status`.
        case stopped
        /// The gateway exited although the run did not cause it.
        case crashed
        /// A fault of the simulator begins. It ends with the next line of this or the following kind.
        case fault
        case faultCleared
    }

    package var at: Int64
    package var kind: Kind
    package var detail: String?
    package var status: Int?
    /// For a fault: whether it ends connections, so that answers to other pushes on them are lost as well.
    package var breaksConnections: Bool?
    package var seed: UInt64?

    package init(
        at: Int64, kind: Kind, detail: String? = nil, status: Int? = nil, breaksConnections: Bool? = nil,
        seed: UInt64? = nil
    ) {
        self.at = at
        self.kind = kind
        self.detail = detail
        self.status = status
        self.breaksConnections = breaksConnections
        self.seed = seed
    }
}
