import APNSKit
import APNSWire
import Synchronization

/// The way of one app to the APNs client that it may share with other apps. Counts what the app sends.
final class AppSender: APNSSender {
    let client: APNSClient
    /// Pushes handed to the client.
    let attempts = Atomic<Int>(0)

    init(_ client: APNSClient) {
        self.client = client
    }

    func send(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, timeouts: APNSSendTimeouts,
        to receiver: any APNSAnswerReceiver
    ) {
        attempts.add(indexes?.count ?? batch.count, ordering: .relaxed)
        client.send(batch, indexes: indexes, ticket: ticket, timeouts: timeouts, to: receiver)
    }
}
