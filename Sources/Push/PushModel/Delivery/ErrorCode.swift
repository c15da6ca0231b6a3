/// The error codes of Godwit: one for every outcome other than a delivery, and for every refused item.
///
/// 1xxx network, 2xxx protocol, 3xxx business. The route `/api/v1/codes` and `docs/reference/error-codes.md` are
/// generated from this table. A number never changes its meaning.
package enum ErrorCode: UInt16, Sendable, CaseIterable, Hashable {
    case none = 0

    // MARK: 1xxx: the network between Godwit and APNs
    case connectionTimedOut = 1001
    case reconnectFailed = 1002
    case connectionRefused = 1003
    case nameNotResolved = 1004
    case tlsFailed = 1005
    case connectionLost = 1006
    case unanswered = 1007
    case notAPNs = 1008

    // MARK: 2xxx: the protocols of APNs and of Godwit
    case heartbeatLost = 2001
    case serialisation = 2002
    case goAway = 2003
    case streamRefused = 2004
    case streamReset = 2005
    case protocolViolation = 2006
    case storedDataDamaged = 2007
    case apnsInternalError = 2010
    case apnsUnavailable = 2011
    case apnsShutdown = 2012
    case unknownAnswer = 2013
    case invalidJSON = 2020
    case wrongType = 2021
    case missingField = 2022
    case unknownField = 2023
    case itemTooLarge = 2024
    case truncatedStream = 2025

    // MARK: 3xxx: the business
    case frequencyExceeded = 3001
    case notSubscribed = 3002
    case badDeviceToken = 3003
    case tokenNotForTopic = 3004
    case tokenExpired = 3005
    case payloadTooLarge = 3006
    case payloadInvalid = 3007
    case topicRefused = 3008
    case credentialRefused = 3009
    case credentialExpired = 3010
    case requestRefused = 3011
    case expired = 3012
    case cancelled = 3013
    case duplicate = 3014
    case quietHours = 3015
    case givenUp = 3016
    case unknownApp = 3017
    case badField = 3018
    case queueFull = 3019
    case storeUnavailable = 3020
    case shuttingDown = 3021
    case superseded = 3022
    case poison = 3023
    case droppedUnanswered = 3024
    case rateLimited = 3025
    case idempotencyMismatch = 3026
    case idempotencyRunning = 3027
    case overloaded = 3028
    case bundleIDRefused = 3029
    case malformedToken = 3030
    case pushInvalid = 3031
    case pushWarned = 3032

    /// The description of a code.
    package struct Entry: Sendable {
        /// A stable name for programs.
        package var name: String
        /// One sentence.
        package var meaning: String
        /// Whether Godwit tries the push again automatically.
        package var isRetried: Bool
        /// What to do, in one sentence.
        package var advice: String
    }

    package var entry: Entry {
        switch self {
        case .none:
            Entry(name: "none", meaning: "There is no error.", isRetried: false, advice: "Nothing to do.")
        case .connectionTimedOut:
            Entry(
                name: "connection_timed_out", meaning: "Connecting to APNs timed out.", isRetried: true,
                advice: "Check that the host and port of APNs (443 or 2197) are reachable from the gateway's host."
            )
        case .reconnectFailed:
            Entry(
                name: "reconnect_failed",
                meaning: "The connection to APNs was lost, and reconnecting timed out.",
                isRetried: true, advice: "Check the network; pushes wait and are sent when it is available again."
            )
        case .connectionRefused:
            Entry(
                name: "connection_refused", meaning: "The APNs host refused the connection.", isRetried: true,
                advice: "Check the configured host and port, and firewalls."
            )
        case .nameNotResolved:
            Entry(
                name: "name_not_resolved", meaning: "The APNs host name could not be resolved.", isRetried: true,
                advice: "Check DNS on the gateway's host."
            )
        case .tlsFailed:
            Entry(
                name: "tls_failed",
                meaning: "TLS with APNs failed, for example because its certificate is not trusted.",
                isRetried: true, advice: "Check the trust roots, and whether a proxy intercepts TLS."
            )
        case .connectionLost:
            Entry(
                name: "connection_lost", meaning: "The connection was lost before APNs answered.",
                isRetried: true, advice: "Nothing to do; a retry has the same apns-id."
            )
        case .unanswered:
            Entry(
                name: "unanswered", meaning: "APNs did not answer before the deadline.", isRetried: true,
                advice: "Nothing to do; a retry has the same apns-id."
            )
        case .notAPNs:
            Entry(
                name: "not_apns", meaning: "The server that answered is not APNs.", isRetried: true,
                advice: "Check the configured host, proxies and captive portals; pushes wait until APNs answers."
            )
        case .heartbeatLost:
            Entry(
                name: "heartbeat_lost", meaning: "APNs did not answer a PING; the connection was replaced.",
                isRetried: true, advice: "If it happens often, check for a firewall that drops idle connections."
            )
        case .serialisation:
            Entry(
                name: "serialisation", meaning: "The stored push could not be read.", isRetried: false,
                advice: "Report it, with the versions of Godwit that share the store."
            )
        case .goAway:
            Entry(
                name: "go_away", meaning: "APNs closed the connection before it processed the push.", isRetried: true,
                advice: "Nothing to do; the push is sent on another connection, and the attempt does not count."
            )
        case .streamRefused:
            Entry(
                name: "stream_refused", meaning: "APNs refused the stream without processing the push.",
                isRetried: true, advice: "Nothing to do; the push is sent again, and the attempt does not count."
            )
        case .streamReset:
            Entry(
                name: "stream_reset", meaning: "APNs reset the stream and may have processed the push.",
                isRetried: true, advice: "Nothing to do; a retry has the same apns-id."
            )
        case .protocolViolation:
            Entry(
                name: "protocol_violation", meaning: "The peer violated the HTTP/2 protocol.", isRetried: true,
                advice: "Check that the configured host is APNs and not a proxy."
            )
        case .storedDataDamaged:
            Entry(
                name: "stored_data_damaged",
                meaning: """
                    The stored bytes of the push, or of its progress, are not the ones that were written. It was given up, \
                    and may have been sent before.
                    """, isRetried: false,
                advice:
                    "Check the disk and restore a backup; send the push again if a duplicate does less harm than a loss."
            )
        case .apnsInternalError:
            Entry(
                name: "apns_internal_error", meaning: "APNs answered 500.", isRetried: true,
                advice: "Nothing to do; check Apple's system status if it lasts."
            )
        case .apnsUnavailable:
            Entry(
                name: "apns_unavailable", meaning: "APNs answered 503.", isRetried: true,
                advice: "Nothing to do; check Apple's system status if it lasts."
            )
        case .apnsShutdown:
            Entry(
                name: "apns_shutdown", meaning: "The APNs server is shutting down.", isRetried: true,
                advice: "Nothing to do."
            )
        case .unknownAnswer:
            Entry(
                name: "unknown_answer", meaning: "APNs gave an answer that this version does not recognize.",
                isRetried: false, advice: "See the reason, which is the verbatim text of APNs."
            )
        case .invalidJSON:
            Entry(
                name: "invalid_json", meaning: "The item is not well-formed JSON.", isRetried: false,
                advice: "Correct the item and send it again."
            )
        case .wrongType:
            Entry(
                name: "wrong_type", meaning: "A field has the wrong JSON type.", isRetried: false,
                advice: "See the field's type in the API reference."
            )
        case .missingField:
            Entry(
                name: "missing_field", meaning: "A required field is missing.", isRetried: false,
                advice: "Add the field that the detail names."
            )
        case .unknownField:
            Entry(
                name: "unknown_field", meaning: "The item has an unknown field.", isRetried: false,
                advice: "Remove the field or correct its spelling; custom data belongs in the payload."
            )
        case .itemTooLarge:
            Entry(
                name: "item_too_large", meaning: "The item is larger than any valid push.", isRetried: false,
                advice: "Keep pushes within the limits of the API reference."
            )
        case .truncatedStream:
            Entry(
                name: "truncated_stream", meaning: "The request ended in the middle of an item.", isRetried: false,
                advice: "Send every item again that the response does not report as accepted."
            )
        case .frequencyExceeded:
            Entry(
                name: "frequency_exceeded", meaning: "Too many pushes to this device in a short time.",
                isRetried: true, advice: "Send less often to one device, or use collapse IDs."
            )
        case .notSubscribed:
            Entry(
                name: "not_subscribed", meaning: "The device no longer accepts pushes of this app (410 Unregistered).",
                isRetried: false, advice: "Remove the token, unless the app has registered it again since."
            )
        case .badDeviceToken:
            Entry(
                name: "bad_device_token", meaning: "The token is not valid in this environment.", isRetried: false,
                advice: "Check that sandbox tokens are sent to the sandbox; otherwise remove the token."
            )
        case .tokenNotForTopic:
            Entry(
                name: "token_not_for_topic", meaning: "The token belongs to another app or another kind of push.",
                isRetried: false, advice: "Check the app and the push type of the token."
            )
        case .tokenExpired:
            Entry(
                name: "token_expired", meaning: "The device token has expired (410 ExpiredToken).", isRetried: false,
                advice: "Remove the token."
            )
        case .payloadTooLarge:
            Entry(
                name: "payload_too_large", meaning: "The payload exceeds 4,096 bytes (VoIP: 5,120).", isRetried: false,
                advice: "Send less, and let the app fetch the rest."
            )
        case .payloadInvalid:
            Entry(
                name: "payload_invalid", meaning: "The payload is empty or not a JSON object.", isRetried: false,
                advice: "Send a JSON object, or a string that contains one."
            )
        case .topicRefused:
            Entry(
                name: "topic_refused", meaning: "The credential may not send to this topic.", isRetried: false,
                advice: "Check the bundle ID, the suffix of the push type, and the permissions of the key."
            )
        case .credentialRefused:
            Entry(
                name: "credential_refused", meaning: "APNs refuses the app's key or certificate.", isRetried: true,
                advice:
                    "Replace the credential and reload the gateway (SIGHUP); until then the app's pushes wait or expire."
            )
        case .credentialExpired:
            Entry(
                name: "credential_expired", meaning: "APNs refused the provider token as too old.", isRetried: true,
                advice: "Check the clock of the gateway's host."
            )
        case .requestRefused:
            Entry(
                name: "request_refused", meaning: "APNs refuses the push in its present form.",
                isRetried: false, advice: "See the reason, and correct the push."
            )
        case .expired:
            Entry(
                name: "expired", meaning: "The push expired before it could be sent.", isRetried: false,
                advice: "Nothing to do, or use a later expiration."
            )
        case .cancelled:
            Entry(
                name: "cancelled", meaning: "The push was cancelled before it was sent.", isRetried: false,
                advice: "Nothing to do."
            )
        case .duplicate:
            Entry(
                name: "duplicate", meaning: "The same push was accepted before.", isRetried: false,
                advice: "Nothing to do."
            )
        case .quietHours:
            Entry(
                name: "quiet_hours", meaning: "The push was due during quiet hours.", isRetried: false,
                advice: "Nothing to do, or send it as urgent."
            )
        case .givenUp:
            Entry(
                name: "given_up",
                meaning: """
                    A stored dead letter has a code that this version does not know. Other given-up pushes have the code \
                    of their cause, for example of the last answer.
                    """, isRetried: false,
                advice: "See the last reason, or list the dead letter with the version that stored it."
            )
        case .unknownApp:
            Entry(
                name: "unknown_app", meaning: "No app of this name is configured.", isRetried: false,
                advice: "Use the name of a configured app, or add the app to the configuration."
            )
        case .badField:
            Entry(
                name: "bad_field", meaning: "The value of a field is not allowed.", isRetried: false,
                advice: "Correct the field that the detail names, within its limits."
            )
        case .queueFull:
            Entry(
                name: "queue_full", meaning: "The queue has no capacity for more pushes.", isRetried: false,
                advice: "Send the item again after the time in Retry-After."
            )
        case .storeUnavailable:
            Entry(
                name: "store_unavailable", meaning: "The push could not be made durable.", isRetried: false,
                advice: "Send the item again after the time in Retry-After."
            )
        case .shuttingDown:
            Entry(
                name: "shutting_down", meaning: "This instance is stopping.", isRetried: false,
                advice: "Send the item again, to another instance."
            )
        case .superseded:
            Entry(
                name: "superseded", meaning: "A newer push with the same collapse ID replaced this one.",
                isRetried: false, advice: "Nothing to do."
            )
        case .poison:
            Entry(
                name: "poison",
                meaning: "The gateway crashed each time it processed this push, even when it processed no other push.",
                isRetried: false, advice: "Inspect the dead letter and report it; replay it after an update."
            )
        case .droppedUnanswered:
            Entry(
                name: "dropped_unanswered",
                meaning: "APNs did not answer, and the push has `on_unanswered: drop`.",
                isRetried: false, advice: "Send it again if a duplicate does less harm than a loss."
            )
        case .rateLimited:
            Entry(
                name: "rate_limited", meaning: "Too many requests, or too many pushes to one device, in a short time.",
                isRetried: false, advice: "Send again after the time in Retry-After."
            )
        case .idempotencyMismatch:
            Entry(
                name: "idempotency_mismatch", meaning: "This Idempotency-Key was used before with another body.",
                isRetried: false, advice: "Use a new key for a new request."
            )
        case .idempotencyRunning:
            Entry(
                name: "idempotency_running", meaning: "A request with this Idempotency-Key is still in progress.",
                isRetried: false, advice: "Send again after the time in Retry-After to get its response."
            )
        case .overloaded:
            Entry(
                name: "overloaded", meaning: "The gateway admits no new pushes at present, of this app or of any app.",
                isRetried: false,
                advice: "Send again after the time in Retry-After; the detail names the exhausted resource."
            )
        case .bundleIDRefused:
            Entry(
                name: "bundle_id_refused",
                meaning: "APNs refuses the topic that is derived from the app's bundle ID, for several devices.",
                isRetried: true,
                advice: "Check the app's `bundle_id` and that its credential covers it; until then its pushes wait."
            )
        case .malformedToken:
            Entry(
                name: "malformed_token", meaning: "The device token is not hexadecimal, or has an impossible length.",
                isRetried: false,
                advice: "Send the bytes that the app received as 2 to 510 hexadecimal digits; APNs has not been asked."
            )
        case .pushInvalid:
            Entry(
                name: "push_invalid", meaning: "APNs would refuse the push.", isRetried: false,
                advice: "Correct what `rule` and the detail name; see the rules of the lint."
            )
        case .pushWarned:
            Entry(
                name: "push_warned",
                meaning: "The push has a warning, and the request asks with `strict=true` to refuse such pushes.",
                isRetried: false, advice: "Correct what `rule` and the detail name, or send it without `strict`."
            )
        }
    }
}

extension ErrorCode {
    /// Whether a push that waits with this code and without a counted attempt was sent nevertheless: attempts that fail
    /// while the upstream is failing do not count. A lost connection has the same code for pushes that were not sent, so it
    /// is not among them.
    var isOfUncountedAttempt: Bool {
        switch self {
        case .apnsInternalError, .apnsUnavailable, .apnsShutdown, .notAPNs, .unanswered: true
        default: false
        }
    }
}
