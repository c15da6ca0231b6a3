/// Until when APNs stores a push for a device that is offline: the `apns-expiration` header.
///
/// Source: Apple, "Sending notification requests to APNs".
public enum Expiration: Sendable, Hashable {
    /// Leaves the header out: APNs stores the push as long as its own policy says, at most 30 days.
    case none
    /// APNs tries once and stores nothing.
    case immediate
    /// APNs stores the push and retries until this time. A time in the past is reported as `expired` and not sent.
    case at(UNIXTime)

    /// The value of the header, in seconds since 1970; nil without the header.
    public var headerValue: Int64? {
        switch self {
        case .none: nil
        case .immediate: 0
        case .at(let time): time.secondsSince1970
        }
    }

    /// The value of `NotificationBatch.Entry.expiration`.
    ///
    /// Clamped, because 0 and `noExpiration` have other meanings there; a clamped time is in the past as well.
    var columnValue: Int64 {
        switch self {
        case .none: NotificationBatch.noExpiration
        case .immediate: 0
        case .at(let time): max(1, time.secondsSince1970)
        }
    }
}
