// What a torture run writes down, one JSON object a line. Times are UNIX milliseconds of this machine's clock, which
// client, simulator and gateway share. A device is named by its number; no log holds a device token.

/// `client.log`: what the client did and what it was told.
package struct ClientLine: Codable, Equatable, Sendable {
    package var at: Int64
    package var sent: SentRequest?
    package var answered: CompletedRequest?
    package var cancelled: CancelledPush?

    package init(
        at: Int64, sent: SentRequest? = nil, answered: CompletedRequest? = nil, cancelled: CancelledPush? = nil
    ) {
        self.at = at
        self.sent = sent
        self.answered = answered
        self.cancelled = cancelled
    }
}

/// A request, written down before it is sent. Each of its pushes goes to a device of its own: `first`, `first` + 1 …
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
    /// Whether its pushes are given up rather than sent again when APNs did not answer.
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

/// What the gateway said to a request: as much as arrived. A request that was never answered has no such line, and one
/// that was repeated under its key may have several.
package struct CompletedRequest: Codable, Equatable, Sendable {
    package enum Word: String, Codable, Sendable {
        case accepted, refused
        /// The gateway itself could not tell whether it is accepted.
        case unknown
    }

    package struct Item: Codable, Equatable, Sendable {
        package var id: String?
        package var word: Word

        package init(id: String?, word: Word) {
            self.id = id
            self.word = word
        }
    }

    package var request: Int
    /// The HTTP status; 0 when there was none.
    package var status: Int
    /// By index in the request; shorter than it where the answer broke off.
    package var items: [Item]

    package init(request: Int, status: Int, items: [Item]) {
        self.request = request
        self.status = status
        self.items = items
    }
}

/// The cancellation of a push, written down before it is asked for, and again when the gateway has confirmed it.
package struct CancelledPush: Codable, Equatable, Sendable {
    package var id: String
    package var isConfirmed: Bool

    package init(id: String, isConfirmed: Bool) {
        self.id = id
        self.isConfirmed = isConfirmed
    }
}

/// `apns.log`: a push as it came to the simulator.
package struct APNSLine: Codable, Equatable, Sendable {
    package var at: Int64
    package var id: String
    /// nil: a device token that no client of this run has made.
    package var device: Int?
    package var topic: String
    /// The payload is the one that was sent to this device.
    package var isIntact: Bool
    /// What it was answered with; 0: nothing.
    package var status: Int
    package var reason: String?
    /// APNs goes on to deliver it, whatever it answered.
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

/// `store.log`: what the gateway's API says of a push, asked now and then and at the end.
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

/// `events.log`: what was done to gateway and simulator.
package struct EventLine: Codable, Equatable, Sendable {
    package enum Kind: String, Codable, Sendable {
        /// The first line: `seed` says what the run is.
        case began
        case started
        /// `kill -9`.
        case killed
        /// SIGTERM was sent.
        case asked
        /// It ended after SIGTERM; `status` is its exit status.
        case stopped
        /// It ended and nobody had asked it to.
        case died
        /// A fault of the simulator begins; it ends with the next line of this kind.
        case fault
        /// The last fault is over and nobody is killed any more.
        case healed
    }

    package var at: Int64
    package var kind: Kind
    package var what: String?
    package var status: Int?
    /// For a fault: it ends connections, so that answers of other pushes on them are lost too.
    package var breaksConnections: Bool?
    package var seed: UInt64?

    package init(
        at: Int64, kind: Kind, what: String? = nil, status: Int? = nil, breaksConnections: Bool? = nil,
        seed: UInt64? = nil
    ) {
        self.at = at
        self.kind = kind
        self.what = what
        self.status = status
        self.breaksConnections = breaksConnections
        self.seed = seed
    }
}
