import HTTPTypes

/// Refuses requests for new work while too many bytes are held, with 503 and `Retry-After`.
struct HeldBytesCheck: RequestCheck {
    let held: HeldBytes
    let retryAfter: Int
    let metrics: AcceptMetrics

    func check(_ head: RequestHead, _ fields: inout HTTPFields) throws(Problem) {
        guard let problem = held.refusal(retryAfter: retryAfter) else { return }
        metrics.shedForHeldBytes()
        throw problem
    }
}
