import APNSWire
import PushModel
import PushStore

/// The properties that all pushes of a batch share.
struct BatchKey: Hashable, Sendable {
    /// Index into `AppDirectory.apps`.
    var app: Int
    var lane: Lane
    /// UNIX seconds. 0: immediately.
    var notBefore: Int64
    var ambiguity: AmbiguityPolicy

    init(_ push: ParsedPush) {
        app = push.app
        lane = push.lane
        notBefore = push.notBefore
        ambiguity = push.ambiguity
    }
}

/// A batch to which pushes are added.
struct BatchBuilder: Sendable {
    let key: BatchKey
    let id: BatchID
    private(set) var notifications: NotificationBatch

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
        return notifications.count - 1
    }

    func closed(
        apps: AppDirectory, acceptedAt: WallTime, traceparent: String? = nil, requestID: String? = nil
    ) -> Batch {
        Batch(
            id: id, app: apps.apps[key.app].id, lane: key.lane, acceptedAt: acceptedAt,
            dueTimes: PushColumn(shared: key.notBefore > 0 ? WallTime(seconds: key.notBefore) : nil),
            notifications: notifications, traceparents: PushColumn(shared: traceparent),
            requestIDs: PushColumn(shared: requestID), ambiguity: key.ambiguity
        )
    }
}
