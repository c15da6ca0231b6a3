import HTTPTypes

/// One reason to refuse a request before its body is read.
///
/// A check sees nothing but the head, so every way in can run it: a route of Hummingbird, a channel handler, or a
/// stream of HTTP/2. It must not wait.
protocol RequestCheck: Sendable {
    /// - Parameter fields: those of the response, of a refusal as well. The check may append its own.
    /// - Throws: the refusal.
    func check(_ head: RequestHead, _ fields: inout HTTPFields) throws(Problem)
}
