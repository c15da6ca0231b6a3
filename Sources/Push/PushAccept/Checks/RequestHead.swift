import HTTPTypes
import NIOCore

/// What a request says before its body: the input of every check.
struct RequestHead: Sendable {
    let request: HTTPRequest
    /// The address of the connection; nil if it is closed already.
    let peer: SocketAddress?

    init(_ request: HTTPRequest, peer: SocketAddress?) {
        self.request = request
        self.peer = peer
    }

    var fields: HTTPFields { request.headerFields }
}
