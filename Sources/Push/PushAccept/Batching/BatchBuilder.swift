import APNSWire
import PushModel
import PushStore

/// The properties that all pushes of a batch share.
struct BatchKey: Hashable, Sendable {
    /// Index into `AppDirectory.apps`.
    var app: Int
    var environment: APNSEnvironment
    var lane: Lane
    /// The `DueWindow`. 0: immediately.
    var dueWindow: Int64
    var ambiguity: AmbiguityPolicy

    init(_ push: ParsedPush) {
        app = push.app
        environment = push.environment
        lane = push.lane
        dueWindow = push.dueWindow
        ambiguity = push.ambiguity
    }
}

/// A batch to which pushes are added.
struct BatchBuilder: Sendable {
    let key: BatchKey
    let id: BatchID
    private(set) var notifications: NotificationBatch
    /// UNIX seconds, one for each push. Empty if the pushes are due immediately.
    private var dueTimes: [Int64] = []

    init(key: BatchKey, id: BatchID) {
        self.key = key
        self.id = id
        notifications = NotificationBatch(firstID: id.value)
    }

    var count: Int { notifications.count }
    var byteCount: Int { notifications.byteCount }

    /// Appends the push that `parser` has just parsed from `bytes`.
    ///
    /// - Returns: the index of the push in the batch.
    mutating func append(_ push: ParsedPush, from bytes: UnsafeRawBufferPointer, by parser: PushParser) -> Int {
        let headers = parser.headers(of: push)
        parser.withColumns(of: push, in: bytes) { token, payload in
            notifications.append(token: token, payload: payload, headers: headers, expiration: push.expiration)
        }
        if key.dueWindow != 0 { dueTimes.append(push.notBefore) }
        return notifications.count - 1
    }

    func closed(
        apps: AppDirectory, acceptedAt: WallTime, traceparent: String? = nil, requestID: String? = nil
    ) -> Batch {
        Batch(
            id: id, app: apps.apps[key.app].id, environment: key.environment, lane: key.lane, acceptedAt: acceptedAt,
            dueTimes: PushColumn(dueTimes.map { WallTime(seconds: $0) }), notifications: notifications,
            traceparents: PushColumn(shared: traceparent), requestIDs: PushColumn(shared: requestID),
            ambiguity: key.ambiguity
        )
    }
}
