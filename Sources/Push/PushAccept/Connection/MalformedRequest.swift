/// A request whose header or framing is not valid HTTP/1.1. It never reaches a route, and nothing after it on the
/// connection can be read.
struct MalformedRequest: Error {
    let problem: Problem
    /// Whether its response must have no body.
    var isHead = false
}
