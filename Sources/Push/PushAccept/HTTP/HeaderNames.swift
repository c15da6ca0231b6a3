import HTTPTypes

extension HTTPField.Name {
    static let requestID = HTTPField.Name("X-Request-Id")!
    /// RFC 7239.
    static let forwarded = HTTPField.Name("Forwarded")!
    static let forwardedFor = HTTPField.Name("X-Forwarded-For")!
    /// W3C Fetch Metadata.
    static let secFetchSite = HTTPField.Name("Sec-Fetch-Site")!
    /// W3C Trace Context, level 1.
    static let traceparent = HTTPField.Name("traceparent")!
    /// Source: IETF draft-ietf-httpapi-idempotency-key-header, read 2026-11-23.
    static let idempotencyKey = HTTPField.Name("Idempotency-Key")!
    /// Of this product; in no draft.
    static let idempotencyReplayed = HTTPField.Name("Idempotency-Replayed")!
    // Source: IETF draft-ietf-httpapi-ratelimit-headers, read 2026-11-23.
    static let rateLimit = HTTPField.Name("RateLimit")!
    static let rateLimitPolicy = HTTPField.Name("RateLimit-Policy")!
}
