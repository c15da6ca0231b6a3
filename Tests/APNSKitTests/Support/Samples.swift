import APNSKit
import APNSWire
import Crypto
import NIOCore
import NIOPosix
import Synchronization

/// Pushes and clients for tests.
enum Samples {
    static let headers = NotificationHeaders(topic: "com.example.app", pushType: .alert, priority: .immediate)

    /// `count` pushes to different tokens.
    static func batch(
        _ count: Int, from first: Int = 0, payloadBytes: Int = 95, headers: NotificationHeaders = headers,
        expiration: Int64 = NotificationBatch.noExpiration
    ) -> NotificationBatch {
        var batch = NotificationBatch(firstID: APNSID(high: 0x0192_0000_0000_7000, low: UInt64(first) << 16))
        let text = String(repeating: "x", count: max(0, payloadBytes - 20))
        for index in 0..<count {
            batch.append(
                token: token(first + index), payload: Array(#"{"aps":{"alert":"\#(text)"}}"#.utf8), headers: headers,
                expiration: expiration
            )
        }
        return batch
    }

    static func token(_ number: Int) -> [UInt8] {
        (0..<32).map { UInt8(truncatingIfNeeded: $0 < 8 ? number >> ($0 * 8) : $0) }
    }

    /// The same time for the wait and for the answer.
    static func timeouts(_ timeout: Duration) -> APNSSendTimeouts { APNSSendTimeouts(wait: timeout, answer: timeout) }

    static func key(id: String) throws -> ProviderTokenKey {
        try ProviderTokenKey(pem: P256.Signing.PrivateKey().pemRepresentation, keyID: id, teamID: "TESTTEAM00")
    }

    static func client(
        port: Int, host: String = "127.0.0.1", group: any EventLoopGroup = .singletonMultiThreadedEventLoopGroup,
        _ change: (inout APNSClientConfiguration) -> Void = { _ in }
    ) throws -> APNSClient {
        var configuration = APNSClientConfiguration(endpoint: .init(host: host, port: port))
        configuration.trustRoots = .file(TestCertificate.server.certificatePath)
        // Most tests count connections.
        configuration.connectionsMax = 1
        change(&configuration)
        return try APNSClient(configuration: configuration, eventLoopGroup: group)
    }
}

extension NotificationBatch {
    mutating func append(token: [UInt8], payload: [UInt8], headers: NotificationHeaders, expiration: Int64) {
        token.withUnsafeBytes { token in
            payload.withUnsafeBytes { append(token: token, payload: $0, headers: headers, expiration: expiration) }
        }
    }
}

/// Collects all groups of answers, and lets a test wait for the last one.
final class AnswerGroups: APNSAnswerReceiver {
    private struct State {
        var groups: [APNSAnswers] = []
        var waiter: CheckedContinuation<[APNSAnswers], Never>?
    }

    private let state = Mutex(State())

    func receive(_ answers: APNSAnswers) {
        let waiter = state.withLock { state -> CheckedContinuation<[APNSAnswers], Never>? in
            state.groups.append(answers)
            guard answers.isLast else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: state.withLock { $0.groups })
    }

    /// Waits for the last group and returns all groups.
    func all() async -> [APNSAnswers] {
        await withCheckedContinuation { continuation in
            let isComplete = state.withLock { state in
                if state.groups.last?.isLast == true { return true }
                state.waiter = continuation
                return false
            }
            if isComplete { continuation.resume(returning: state.withLock { $0.groups }) }
        }
    }
}
