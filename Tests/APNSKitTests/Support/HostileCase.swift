import Testing

/// A hostile behaviour of a server, and the expected result.
struct HostileCase: Sendable, CustomTestStringConvertible {
    /// What happens to the hostile connection.
    enum Connection: Sendable {
        /// All pushes are sent on it, before and after.
        case kept
        /// No more pushes are sent on it.
        case lost
        /// Pushes are sent on it until the client gives it up.
        case givenUp
    }

    var name: String
    /// The expected answers on the hostile connection by kind; nil where they depend on timing.
    var answers: String?
    var connection: Connection
    var deadline: Duration
    var pushes: Int
    var payloadBytes: Int
    /// False if the server leaves requests in the socket's buffer.
    var readsRequests: Bool

    var testDescription: String { name }

    init(
        _ name: String, _ answers: String?, _ connection: Connection, deadline: Duration = .seconds(20),
        pushes: Int = 8, payloadBytes: Int = 95, readsRequests: Bool = true
    ) {
        self.name = name
        self.answers = answers
        self.connection = connection
        self.deadline = deadline
        self.pushes = pushes
        self.payloadBytes = payloadBytes
        self.readsRequests = readsRequests
    }

    static let all = [
        HostileCase(
            "a-byte-at-a-time", "8 ambiguous deadlineExceeded", .givenUp, deadline: .milliseconds(1500),
            readsRequests: false
        ),
        HostileCase("alpn-missing-and-http1-answer", "8 accepted", .lost),
        HostileCase("alpn-missing-and-http2", "8 accepted", .kept),
        HostileCase("alpn-missing-and-silent", "8 accepted", .lost),
        HostileCase("answer-on-even-stream", "8 ambiguous protocolError", .lost),
        HostileCase("answer-on-stream-zero", "8 ambiguous protocolError", .lost),
        HostileCase("answer-to-idle-stream", "8 ambiguous protocolError", .lost),
        HostileCase("answers-without-end", "8 accepted", .kept, deadline: .milliseconds(1500)),
        HostileCase("body-100mib-error", "8 400 none", .lost),
        HostileCase("body-100mib-ok", "8 accepted", .kept),
        HostileCase("close-notify", "8 ambiguous connectionClosed", .lost),
        HostileCase("content-length-lies", "8 accepted", .kept),
        HostileCase("continuation-flood", "8 ambiguous protocolError", .lost),
        HostileCase("continuation-flood-empty", "8 ambiguous protocolError", .lost),
        HostileCase("continuation-of-nothing", "8 ambiguous protocolError", .lost),
        HostileCase("data-after-end", "8 accepted", .givenUp),
        HostileCase("data-before-headers", "8 ambiguous protocolError", .lost),
        HostileCase("data-on-idle-stream", "8 ambiguous protocolError", .lost),
        HostileCase("data-over-connection-window", "1 accepted, 7 ambiguous protocolError", .lost),
        HostileCase("empty-data-flood", "8 accepted", .kept, deadline: .milliseconds(1500)),
        HostileCase("enable-push-by-server", "8 ambiguous protocolError", .lost),
        HostileCase("falls-silent", "8 ambiguous deadlineExceeded", .givenUp, deadline: .milliseconds(1500)),
        HostileCase("frame-of-16-mib", "8 ambiguous protocolError", .lost),
        HostileCase("frame-size-too-large", "8 ambiguous protocolError", .lost),
        HostileCase("frame-size-too-small", "8 ambiguous protocolError", .lost),
        HostileCase("frame-too-large", "8 ambiguous protocolError", .lost),
        HostileCase("frame-torn-off", "8 ambiguous connectionClosed", .lost),
        HostileCase("garbage-after-settings", "8 ambiguous protocolError", .lost),
        HostileCase("garbage-instead-of-settings", "8 accepted", .lost),
        HostileCase("garbage-instead-of-tls", "8 accepted", .lost),
        HostileCase("goaway-before-settings", "8 accepted", .lost),
        HostileCase("goaway-before-settings-text", "8 accepted", .lost),
        HostileCase("goaway-falls-while-answering", "8 accepted", .lost),
        HostileCase("goaway-flood", "8 ambiguous goAway", .lost),
        HostileCase("goaway-in-two-steps", "8 accepted", .lost),
        HostileCase("goaway-last-even", "8 ambiguous protocolError", .lost),
        HostileCase("goaway-last-never-opened", "4 accepted, 4 ambiguous goAway", .lost),
        HostileCase("goaway-last-rises", "4 accepted, 4 ambiguous goAway", .lost),
        HostileCase("goaway-of-1-mib", "8 ambiguous protocolError", .lost),
        HostileCase("goaway-then-answers-refused-ones", "8 accepted", .lost),
        HostileCase("goaway-then-never-closes", "4 accepted, 4 ambiguous goAway", .lost),
        HostileCase("goaway-too-short", "8 ambiguous protocolError", .lost),
        HostileCase("goaway-twice", "8 accepted", .lost),
        HostileCase("goaway-zero-16-kib", "8 accepted", .lost),
        HostileCase("goaway-zero-credential", "8 refused goAway BadCertificateEnvironment", .lost),
        HostileCase("goaway-zero-empty", "8 accepted", .lost),
        HostileCase("goaway-zero-json", "8 accepted", .lost),
        HostileCase("goaway-zero-text", "8 accepted", .lost),
        HostileCase("half-closed", "8 ambiguous connectionClosed", .lost),
        HostileCase("headers-100kib", "8 ambiguous streamReset", .kept),
        HostileCase("headers-1mib", "7 ambiguous protocolError, 1 ambiguous streamReset", .lost),
        HostileCase("headers-interrupted", "8 ambiguous protocolError", .lost),
        HostileCase("headers-padding-longer-than-frame", "8 ambiguous protocolError", .lost),
        HostileCase("hpack-bad-huffman", "8 ambiguous protocolError", .lost),
        HostileCase("hpack-bad-index", "8 ambiguous protocolError", .lost),
        HostileCase("hpack-bomb", "8 ambiguous streamReset", .kept),
        HostileCase("hpack-endless-integer", "8 ambiguous protocolError", .lost),
        HostileCase("hpack-table-size-changes", "8 accepted", .kept),
        HostileCase("hpack-table-size-too-large", "8 ambiguous protocolError", .lost),
        HostileCase("http1-instead-of-tls", "8 accepted", .lost),
        HostileCase("initial-window-too-large", "8 ambiguous protocolError", .lost),
        HostileCase("interim-answers-endless", "8 ambiguous deadlineExceeded", .kept, deadline: .milliseconds(1500)),
        HostileCase("interim-that-ends", "8 ambiguous streamReset", .kept),
        HostileCase("interim-then-200", "8 accepted", .kept),
        HostileCase("late-answers", "8 ambiguous deadlineExceeded", .kept, deadline: .milliseconds(1500)),
        HostileCase("never-answers", "8 ambiguous deadlineExceeded", .kept, deadline: .milliseconds(1500)),
        HostileCase("never-answers-at-all", "8 ambiguous deadlineExceeded", .givenUp, deadline: .milliseconds(1500)),
        HostileCase("no-streams-ever", "8 neverWritten deadlineExceeded", .givenUp, deadline: .milliseconds(1500)),
        HostileCase("no-streams-then-some", "8 accepted", .kept),
        HostileCase("no-window-ever", "8 neverWritten deadlineExceeded", .givenUp, deadline: .milliseconds(1500)),
        HostileCase("no-window-then-by-stream", "8 accepted", .kept),
        HostileCase("no-window-then-some", "8 accepted", .kept),
        HostileCase("padding-flood", "8 accepted", .kept),
        HostileCase("padding-longer-than-frame", "8 ambiguous protocolError", .lost),
        HostileCase("ping-ack-flood", "8 accepted", .kept),
        HostileCase("ping-flood", "8 ambiguous protocolError", .lost),
        HostileCase("ping-flood-answers-read", "8 accepted", .kept),
        HostileCase("ping-instead-of-settings", "8 accepted", .lost),
        HostileCase("ping-of-wrong-size", "8 ambiguous protocolError", .lost),
        HostileCase("priority-frames", "8 accepted", .kept),
        HostileCase("push-promise", "8 ambiguous protocolError", .lost),
        HostileCase("push-promise-before-settings-ack", "8 ambiguous pingTimeout", .lost),
        HostileCase("refused-forever", "8 accepted", .lost),
        HostileCase("refused-once", "8 accepted", .kept),
        HostileCase("rst-after-headers", "14 accepted", .kept, pushes: 14),
        HostileCase("rst-after-interim", "1 accepted, 13 ambiguous streamReset", .kept, pushes: 14),
        HostileCase("rst-before-headers", "1 accepted, 13 ambiguous streamReset", .kept, pushes: 14),
        HostileCase("rst-flood-closed", "8 accepted", .kept),
        HostileCase("rst-flood-idle", "8 ambiguous protocolError", .lost),
        HostileCase("rst-flood-open", "8 ambiguous streamReset", .kept, deadline: .milliseconds(1500)),
        HostileCase("rst-in-body", "14 400 none", .kept, pushes: 14),
        HostileCase("settings-a-byte-at-a-time", "8 accepted", .kept),
        HostileCase("settings-ack-flood", "8 ambiguous protocolError", .lost),
        HostileCase("settings-ack-instead-of-settings", "8 accepted", .lost),
        HostileCase("settings-flood", "8 ambiguous protocolError", .lost),
        HostileCase("settings-huge", "8 ambiguous protocolError", .lost),
        HostileCase("settings-larger-than-a-frame", "8 ambiguous protocolError", .lost),
        HostileCase("settings-of-wrong-size", "8 ambiguous protocolError", .lost),
        HostileCase("settings-on-a-stream", "8 ambiguous protocolError", .lost),
        HostileCase("sizes-change-all-the-time", "8 accepted", .kept),
        HostileCase("status--20", "8 ambiguous streamReset", .kept),
        HostileCase("status-042", "8 ambiguous streamReset", .kept),
        HostileCase("status-1000", "8 ambiguous streamReset", .kept),
        HostileCase("status-101", "8 ambiguous streamReset", .kept),
        HostileCase("status-42", "8 ambiguous streamReset", .kept),
        HostileCase("status-999", "8 999 none", .kept),
        HostileCase("status-abc", "8 ambiguous streamReset", .kept),
        HostileCase("status-after-other-fields", "8 ambiguous streamReset", .kept),
        HostileCase("status-empty", "8 ambiguous streamReset", .kept),
        HostileCase("status-missing", "8 ambiguous streamReset", .kept),
        HostileCase("status-twice", "8 ambiguous streamReset", .kept),
        HostileCase(
            "stops-reading", nil, .givenUp, deadline: .milliseconds(1500), pushes: 1000, payloadBytes: 4000,
            readsRequests: false
        ),
        HostileCase("streams-fall-to-one-and-rise", "8 accepted", .kept),
        HostileCase("streams-flutter", "8 accepted", .kept),
        HostileCase("tcp-fin", "8 ambiguous connectionClosed", .lost),
        HostileCase("tcp-reset", "8 ambiguous connectionReset", .lost),
        HostileCase("tcp-then-close", "8 accepted", .lost),
        HostileCase("tcp-then-nothing", "8 accepted", .lost),
        HostileCase("tls-alert", "8 accepted", .lost),
        HostileCase("tls-then-close", "8 accepted", .lost),
        HostileCase("tls-then-nothing", "8 accepted", .lost),
        HostileCase("trailers", "8 accepted", .kept),
        HostileCase("trailers-with-status", "8 accepted", .kept),
        HostileCase("unknown-frames-flood", "8 accepted", .kept),
        HostileCase(
            "unknown-frames-endless", "8 ambiguous deadlineExceeded", .givenUp, deadline: .milliseconds(1500),
            readsRequests: false
        ),
        HostileCase("upper-case-field", "8 ambiguous streamReset", .kept),
        HostileCase("window-overflow-of-connection", "8 ambiguous protocolError", .lost),
        HostileCase("window-overflow-of-stream", "8 accepted", .kept),
        HostileCase("window-shrinks-below-zero", "8 accepted", .kept),
        HostileCase("window-update-flood", "8 accepted", .kept),
        HostileCase("window-update-of-idle-stream", "8 ambiguous protocolError", .lost),
        HostileCase("window-update-of-wrong-size", "8 ambiguous protocolError", .lost),
        HostileCase("window-zero-of-connection", "8 ambiguous protocolError", .lost),
        HostileCase("window-zero-of-stream", "8 accepted", .lost),
    ]
}
