/// How long a push may take inside an `APNSSender`, in two parts.
///
/// They are apart because they mean different things: a push that was not written in time has certainly not been
/// processed, while a push that was written and not answered may have been. A push that waited long for a connection
/// still gets the whole time for its answer.
public struct APNSSendTimeouts: Sendable, Hashable {
    /// From the call until the request is completely written to a connection; then the push is reported as
    /// `neverWritten`, or as `refused` if a server refused it before.
    public var wait: Duration
    /// From the moment the request is written until its answer; then the push is reported as `ambiguous`. A push that
    /// a server did not process, and that is written again, gets this time again.
    public var answer: Duration

    public init(wait: Duration, answer: Duration) {
        self.wait = wait
        self.answer = answer
    }
}
