/// The fields of a push. Pushes with other fields are refused.
package enum PushField: String, Sendable, CaseIterable {
    case deviceToken = "device_token"
    case deviceID = "device_id"
    case payload
    case message
    case app
    case environment
    case pushType = "push_type"
    case topic
    case priority
    case expiration
    case collapseID = "collapse_id"
    case notBefore = "not_before"
    case lane
    case onUnanswered = "on_unanswered"
    case timestamp
}
