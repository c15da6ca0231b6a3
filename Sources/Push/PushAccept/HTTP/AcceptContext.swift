package import Hummingbird
import NIOCore

/// The context of a request: its connection and its id.
package struct AcceptContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    /// The address of the connection; nil if it is not an IP address.
    let peer: ClientAddress?
    /// Of the request; `AcceptResponder` sets it.
    var head: RequestHead
    /// `X-Request-Id` of the response.
    var requestID = ""

    package init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        peer = ClientAddress(source.channel.remoteAddress)
        head = RequestHead(
            HTTPRequest(method: .get, scheme: nil, authority: nil, path: nil), caller: Caller(address: nil)
        )
    }
}
