import HTTPTypes

/// What is known of a request before its body: the input of every check.
struct RequestHead: Sendable {
    let request: HTTPRequest
    /// Set by one function, `CallerResolver.caller`, before any check.
    let caller: Caller

    init(_ request: HTTPRequest, caller: Caller) {
        self.request = request
        self.caller = caller
    }

    var fields: HTTPFields { request.headerFields }
}
