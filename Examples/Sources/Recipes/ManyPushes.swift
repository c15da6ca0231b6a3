import APNSKit
import APNSWire

/// Sends one payload to many devices, a few thousand at a time, and counts the results.
public enum ManyPushes {
    public struct Summary: Equatable, Sendable {
        public var accepted = 0
        /// Pushes that APNs rejected, by reason.
        public var rejected: [APNSReason: Int] = [:]
        /// Pushes that APNs has not processed; they may be sent again.
        public var unsent = 0
        /// Pushes that APNs may have accepted.
        public var ambiguous = 0
        /// Device tokens to remove.
        public var dead: [DeviceToken] = []

        public var total: Int { accepted + rejected.values.reduce(0, +) + unsent + ambiguous }

        public var text: String {
            let reasons = rejected.sorted { $0.value > $1.value }.map { "  \($0.value) × \($0.key)" }
            let head = "\(accepted) accepted, \(unsent) not sent, \(ambiguous) unknown, \(dead.count) tokens dead"
            return ([head] + reasons).joined(separator: "\n")
        }

        mutating func count(_ answers: [APNSAnswer], of batch: NotificationBatch) {
            for (index, answer) in answers.enumerated() {
                switch answer.disposition {
                case .answered where answer.status == 200: accepted += 1
                case .answered:
                    rejected[answer.reason, default: 0] += 1
                    let advice = ReasonAdvice.advice(status: answer.status, reason: answer.reason)
                    if advice.isTokenInvalid, let token = DeviceToken(bytes: Array(batch.token(at: index))) {
                        dead.append(token)
                    }
                case .ambiguous: ambiguous += 1
                case .neverWritten, .refused: unsent += 1
                }
            }
        }
    }

    // snippet: window
    /// - Parameters:
    ///   - inFlight: concurrent batches of 1,000. Enough to fill the round trip, few enough to use little memory.
    ///   - progress: called after each batch.
    public static func run(
        _ settings: Settings, to tokens: some Sequence<DeviceToken>, payload: APNSPayload, inFlight: Int = 8,
        progress: @Sendable (Summary) -> Void = { _ in }
    ) async throws -> Summary {
        let client = try settings.client(try settings.credential())
        let headers = NotificationHeaders(topic: settings.bundleID, pushType: .alert, priority: .immediate)
        let body = try payload.encoded(bytesMax: PushType.alert.payloadBytesMax)
        var rest = Batches(tokens.makeIterator(), headers, body)
        var summary = Summary()
        await withTaskGroup(of: (NotificationBatch, [APNSAnswer]).self) { group in
            func sendNext() {
                guard let batch = rest.next() else { return }
                group.addTask { (batch, await client.send(batch, requestTimeout: .seconds(60))) }
            }
            for _ in 0..<inFlight { sendNext() }
            while let (batch, answers) = await group.next() {
                summary.count(answers, of: batch)
                progress(summary)
                sendNext()
            }
        }
        await client.shutdown()
        return summary
    }
    // snippet end
}

/// Splits tokens into batches. A batch stores equal payloads once.
private struct Batches<Tokens: IteratorProtocol<DeviceToken>> {
    private var tokens: Tokens
    private let headers: NotificationHeaders
    private let payload: [UInt8]

    init(_ tokens: Tokens, _ headers: NotificationHeaders, _ payload: [UInt8]) {
        self.tokens = tokens
        self.headers = headers
        self.payload = payload
    }

    mutating func next() -> NotificationBatch? {
        var batch = NotificationBatch(firstID: .random())
        while !batch.isFull, let token = tokens.next() {
            token.bytes.withUnsafeBytes { token in
                payload.withUnsafeBytes { batch.append(token: token, payload: $0, headers: headers) }
            }
        }
        return batch.isEmpty ? nil : batch
    }
}
