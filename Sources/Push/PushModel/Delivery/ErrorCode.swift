/// The product's error codes: one for every outcome that is not a delivery and for every refused item.
///
/// 1xxx network, 2xxx protocol, 3xxx business. This table is the only source: the route `/api/v1/codes` and
/// `docs/error-codes.md` are made from it. A number never changes its meaning.
package enum ErrorCode: UInt16, Sendable, CaseIterable, Hashable {
    case none = 0

    // MARK: 1xxx: the network between us and APNs
    case connectionTimedOut = 1001
    case reconnectFailed = 1002
    case connectionRefused = 1003
    case nameNotResolved = 1004
    case tlsFailed = 1005
    case connectionLost = 1006
    case unanswered = 1007

    // MARK: 2xxx: the protocols, APNs' and ours
    case heartbeatLost = 2001
    case serialisation = 2002
    case goAway = 2003
    case streamRefused = 2004
    case streamReset = 2005
    case protocolViolation = 2006
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

    /// What is known of a code.
    package struct Entry: Sendable {
        /// A stable name for machines.
        package var name: String
        package var meaning: String
        /// Whether Godwit tries the push again by itself.
        package var isRetried: Bool
        package var advice: String
    }

    package var entry: Entry {
        switch self {
        case .none:
            Entry(name: "none", meaning: "Nothing is wrong.", isRetried: false, advice: "Nothing to do.")
        case .connectionTimedOut:
            Entry(
                name: "connection_timed_out", meaning: "No connection to APNs could be made in time.", isRetried: true,
                advice: "Check that the host and port of APNs (443 or 2197) can be reached from here."
            )
        case .reconnectFailed:
            Entry(
                name: "reconnect_failed",
                meaning: "The connection to APNs was lost and could not be made again in time.",
                isRetried: true, advice: "Check the network; pushes wait and are sent when it is back."
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
                name: "connection_lost", meaning: "The connection broke while the push waited for its answer.",
                isRetried: true, advice: "Nothing to do; a repeated push carries the same apns-id."
            )
        case .unanswered:
            Entry(
                name: "unanswered", meaning: "APNs did not answer before the deadline.", isRetried: true,
                advice: "Nothing to do; a repeated push carries the same apns-id."
            )
        case .heartbeatLost:
            Entry(
                name: "heartbeat_lost", meaning: "APNs did not answer a PING; the connection was replaced.",
                isRetried: true, advice: "If it happens often, look for a firewall that drops idle connections."
            )
        case .serialisation:
            Entry(
                name: "serialisation", meaning: "The stored push could not be read.", isRetried: false,
                advice: "Report it, with the versions of Godwit that share the store."
            )
        case .goAway:
            Entry(
                name: "go_away", meaning: "APNs closed the connection before it processed the push.", isRetried: true,
                advice: "Nothing to do; such pushes move to another connection at no cost."
            )
        case .streamRefused:
            Entry(
                name: "stream_refused", meaning: "APNs refused the stream without processing the push.",
                isRetried: true, advice: "Nothing to do; such pushes are sent again at no cost."
            )
        case .streamReset:
            Entry(
                name: "stream_reset", meaning: "APNs reset the stream; the push may have been processed.",
                isRetried: true, advice: "Nothing to do; a repeated push carries the same apns-id."
            )
        case .protocolViolation:
            Entry(
                name: "protocol_violation", meaning: "The peer broke the HTTP/2 protocol.", isRetried: true,
                advice: "Check that the configured host is APNs and not a proxy."
            )
        case .apnsInternalError:
            Entry(
                name: "apns_internal_error", meaning: "APNs answered 500.", isRetried: true,
                advice: "Nothing to do; watch Apple's system status if it lasts."
            )
        case .apnsUnavailable:
            Entry(
                name: "apns_unavailable", meaning: "APNs answered 503.", isRetried: true,
                advice: "Nothing to do; watch Apple's system status if it lasts."
            )
        case .apnsShutdown:
            Entry(
                name: "apns_shutdown", meaning: "That APNs server is shutting down.", isRetried: true,
                advice: "Nothing to do."
            )
        case .unknownAnswer:
            Entry(
                name: "unknown_answer", meaning: "APNs gave an answer that this version does not know.",
                isRetried: false, advice: "Read the reason; it is kept verbatim."
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
                name: "unknown_field", meaning: "The item has a field that does not exist.", isRetried: false,
                advice: "Remove it or correct its spelling; custom data belongs into the payload."
            )
        case .itemTooLarge:
            Entry(
                name: "item_too_large", meaning: "The item is larger than any valid push.", isRetried: false,
                advice: "Send pushes below the limits of the API reference."
            )
        case .truncatedStream:
            Entry(
                name: "truncated_stream", meaning: "The request ended in the middle of an item.", isRetried: false,
                advice: "Send the items again that were not answered as accepted."
            )
        case .frequencyExceeded:
            Entry(
                name: "frequency_exceeded", meaning: "Too many pushes to this device in a short time.",
                isRetried: true, advice: "Send less often to one device, or collapse."
            )
        case .notSubscribed:
            Entry(
                name: "not_subscribed", meaning: "The device no longer takes pushes of this app (410 Unregistered).",
                isRetried: false, advice: "Remove the token, unless the app has registered it again since."
            )
        case .badDeviceToken:
            Entry(
                name: "bad_device_token", meaning: "The token is not valid in this environment.", isRetried: false,
                advice: "Check that sandbox tokens go to the sandbox; otherwise remove the token."
            )
        case .tokenNotForTopic:
            Entry(
                name: "token_not_for_topic", meaning: "The token belongs to another app or another kind of push.",
                isRetried: false, advice: "Check the app and the push type of the token."
            )
        case .tokenExpired:
            Entry(
                name: "token_expired", meaning: "The token itself has run out (410 ExpiredToken).", isRetried: false,
                advice: "Remove the token."
            )
        case .payloadTooLarge:
            Entry(
                name: "payload_too_large", meaning: "The payload is over 4,096 bytes (VoIP: 5,120).", isRetried: false,
                advice: "Send less, and let the app fetch the rest."
            )
        case .payloadInvalid:
            Entry(
                name: "payload_invalid", meaning: "The payload is empty or not a JSON object.", isRetried: false,
                advice: "Send a JSON object, or a string that holds one."
            )
        case .topicRefused:
            Entry(
                name: "topic_refused", meaning: "The credential may not send to this topic.", isRetried: false,
                advice: "Check the bundle ID, the suffix of the push type, and what the key is allowed to do."
            )
        case .credentialRefused:
            Entry(
                name: "credential_refused", meaning: "APNs refuses the app's key or certificate.", isRetried: true,
                advice: "Replace the credential and restart the gateway; until then the app's pushes wait, or expire."
            )
        case .credentialExpired:
            Entry(
                name: "credential_expired", meaning: "APNs found the provider token too old.", isRetried: true,
                advice: "Check the clock of the gateway's host."
            )
        case .requestRefused:
            Entry(
                name: "request_refused", meaning: "APNs refuses the push as it is; the reason says why.",
                isRetried: false, advice: "Correct the push."
            )
        case .expired:
            Entry(
                name: "expired", meaning: "The push's time was over before it could be sent.", isRetried: false,
                advice: "Nothing to do, or allow it more time."
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
                name: "quiet_hours", meaning: "The push fell into quiet hours.", isRetried: false,
                advice: "Nothing to do, or send it as urgent."
            )
        case .givenUp:
            Entry(
                name: "given_up", meaning: "The push was tried too often.", isRetried: false,
                advice: "Look at its last reason and send it again when the cause is mended."
            )
        case .unknownApp:
            Entry(
                name: "unknown_app", meaning: "No app of this name is configured.", isRetried: false,
                advice: "Use a configured app's name, or add the app to the configuration."
            )
        case .badField:
            Entry(
                name: "bad_field", meaning: "A field's value is outside of what is allowed.", isRetried: false,
                advice: "The detail names the field and its limits."
            )
        case .queueFull:
            Entry(
                name: "queue_full", meaning: "There is no room for more pushes.", isRetried: false,
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
                name: "superseded", meaning: "A newer push with the same collapse id took its place.",
                isRetried: false, advice: "Nothing to do."
            )
        case .poison:
            Entry(
                name: "poison",
                meaning: "The gateway crashed each time it worked on this push, also when it was alone.",
                isRetried: false, advice: "Inspect the dead letter and report it; replay it after an update."
            )
        case .droppedUnanswered:
            Entry(
                name: "dropped_unanswered",
                meaning: "APNs did not answer, and the push asked to be dropped rather than sent twice.",
                isRetried: false, advice: "Send it again if a double does less harm than a loss."
            )
        case .rateLimited:
            Entry(
                name: "rate_limited", meaning: "Too many requests, or pushes to one device, in a short time.",
                isRetried: false, advice: "Send again after the time in Retry-After."
            )
        case .idempotencyMismatch:
            Entry(
                name: "idempotency_mismatch", meaning: "This Idempotency-Key was used before with another body.",
                isRetried: false, advice: "Use a new key for a new request."
            )
        case .idempotencyRunning:
            Entry(
                name: "idempotency_running", meaning: "A request with this Idempotency-Key is still being served.",
                isRetried: false, advice: "Send again after the time in Retry-After to get its answer."
            )
        case .overloaded:
            Entry(
                name: "overloaded", meaning: "No new pushes are taken for now, of this app or of any.",
                isRetried: false,
                advice: "Send again after the time in Retry-After; the detail says what is short."
            )
        }
    }
}
