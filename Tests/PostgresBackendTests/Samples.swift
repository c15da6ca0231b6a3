#if Postgres
import APNSWire
import PushModel

/// A batch of `count` pushes to different devices.
func sampleBatch(_ count: Int = 1, at now: WallTime, collapseID: String? = nil) -> Batch {
    let id = BatchID.random(at: now)
    var pushes = NotificationBatch(firstID: id.value)
    let headers = NotificationHeaders(topic: "org.example.app", pushType: .alert, collapseID: collapseID)
    for index in 0..<count {
        [UInt8](repeating: UInt8(index & 255), count: 32).withUnsafeBytes { token in
            Array("{\"n\":\(index)}".utf8).withUnsafeBytes { payload in
                pushes.append(token: token, payload: payload, headers: headers)
            }
        }
    }
    return Batch(id: id, app: AppID("app"), lane: .normal, acceptedAt: now, notifications: pushes)
}

func delivered(_ indexes: some Sequence<Int>) -> [Outcome] {
    indexes.map { Outcome(index: UInt16($0), verdict: .delivered, code: .none, status: 200, attempts: 1) }
}
#endif
