import APNSWire
package import PushModel

/// Search for pushes by device token, app, state, error code, time and request.
package protocol MessageSearch: Sendable {
    /// A page of the pushes that match `query`, by descending push ID, so newest first.
    ///
    /// A page ends when it is full, and also when it has read its share of records or its time is up: then it may be
    /// empty although there are more matches. It reads at least one record. Its cursor continues the search, whatever
    /// was accepted or pruned meanwhile: no push is returned twice, and none is missing that existed during the whole
    /// search.
    ///
    /// - Parameter after: `next` of the previous page; nil: from the newest push on.
    func search(
        _ query: MessageQuery, after: PushID?, limits: SearchLimits
    ) async throws(StoreError) -> MessagePage
}

/// What to search for. A push has to meet all conditions.
package struct MessageQuery: Sendable, Equatable {
    /// The raw device token; nil: any.
    package var token: [UInt8]?
    /// nil: any.
    package var app: AppID?
    /// The states that match; empty: any.
    package var states: Set<PushStatus.State>
    /// The codes that match; empty: any.
    package var codes: Set<ErrorCode>
    /// The earliest time of acceptance; nil: any.
    package var since: WallTime?
    /// The ID of the request that brought the push; nil: any.
    package var requestID: String?

    package init(
        token: [UInt8]? = nil, app: AppID? = nil, states: Set<PushStatus.State> = [], codes: Set<ErrorCode> = [],
        since: WallTime? = nil, requestID: String? = nil
    ) {
        self.token = token
        self.app = app
        self.states = states
        self.codes = codes
        self.since = since
        self.requestID = requestID
    }

    /// Whether a push that has the token and comes from the request meets the other conditions.
    package func matches(_ status: PushStatus) -> Bool {
        (app == nil || status.app == app) && (since.map { status.acceptedAt >= $0 } ?? true)
            && (states.isEmpty || states.contains(status.state)) && (codes.isEmpty || codes.contains(status.code))
    }

    /// Whether a settled push of a batch with these outcomes can meet the conditions for state and code.
    package func canMatch(_ kinds: OutcomeKinds) -> Bool {
        (states.isEmpty
            || states.contains {
                if case .settled(let verdict) = $0 { kinds.contains(verdict) } else { false }
            })
            && (codes.isEmpty || codes.contains(.none) || kinds.codes.contains { codes.contains($0) })
    }

    /// The pushes of a batch that have the token and come from the request, of those with an index in `range`.
    package func matchingIndexes(of batch: Batch, in range: Range<Int>) -> [Int] {
        range.filter { index in
            (token.map { batch.notifications.token(at: index).elementsEqual($0) } ?? true)
                && (requestID == nil || batch.requestIDs[index] == requestID)
        }
    }

    /// The oldest batch ID that a matching push can have; nil: any. A batch gets its ID before its pushes are accepted.
    package var oldestBatch: BatchID? {
        since.flatMap { since in
            let opened = UInt64(clamping: since.milliseconds - Self.batchTimeMax.milliseconds)
            return BatchID(APNSID(high: min(opened, 0xFFFF_FFFF_FFFF) << 16, low: 0))
        }
    }

    /// The longest time from the first push of a batch to its acceptance, with a margin for clocks that move.
    private static let batchTimeMax: Duration = .seconds(15 * 60)
}

/// The most that one page costs.
package struct SearchLimits: Sendable, Equatable {
    /// 1...1,000.
    package var messagesMax: Int
    /// Batches whose records are read.
    package var recordsMax: Int
    package var time: Duration

    package init(messagesMax: Int = 100, recordsMax: Int = 10_000, time: Duration = .milliseconds(500)) {
        self.messagesMax = messagesMax
        self.recordsMax = recordsMax
        self.time = time
    }
}

package struct FoundMessage: Sendable, Equatable {
    /// How the token of a push was compared with the one in the query.
    package enum TokenMatch: String, Sendable {
        /// Byte by byte.
        case exact
        /// By its hash of 32 bits: the token itself is deleted. Another token matches with a probability of 1 in 4.3
        /// billion.
        case hash
    }

    package var status: PushStatus
    /// nil if the query has no token.
    package var tokenMatch: TokenMatch?

    package init(status: PushStatus, tokenMatch: TokenMatch? = nil) {
        self.status = status
        self.tokenMatch = tokenMatch
    }
}

package struct MessagePage: Sendable, Equatable {
    /// By descending push ID.
    package private(set) var messages: [FoundMessage] = []
    /// Where the next page continues; nil if this is the last one.
    package var next: PushID?
    /// When the oldest batch that was read was accepted; nil if none was.
    package private(set) var searchedTo: WallTime?
    private let limit: Int

    package init(limits: SearchLimits) {
        limit = limits.messagesMax
    }

    /// The number of messages that the page still takes.
    package var capacity: Int { limit - messages.count }

    /// Adds the matches of one batch, by descending push ID, after those of newer batches.
    package mutating func append(_ found: [FoundMessage], of batch: BatchID, acceptedAt: WallTime) {
        messages += found.prefix(capacity)
        searchedTo = acceptedAt
        // The whole batch was searched, unless the page is full.
        next = capacity == 0 ? messages.last?.status.id : batch.push(0)
    }
}
