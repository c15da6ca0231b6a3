package import Hummingbird
import NIOCore

/// The context of a request: its connection and its id.
package struct AcceptContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    /// The address of the connection.
    let peer: SocketAddress?
    /// Of the request; `AcceptResponder` sets it.
    var head: RequestHead
    /// `X-Request-Id` of the response.
    var requestID = ""

    package init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        peer = source.channel.remoteAddress
        head = RequestHead(HTTPRequest(method: .get, scheme: nil, authority: nil, path: nil), peer: peer)
    }
}
