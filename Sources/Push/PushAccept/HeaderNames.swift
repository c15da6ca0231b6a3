import HTTPTypes

extension HTTPField.Name {
    static let requestID = HTTPField.Name("X-Request-Id")!
    /// W3C Trace Context, level 1.
    static let traceparent = HTTPField.Name("traceparent")!
}
