package import Hummingbird
import NIOCore

/// The context of a request: its connection and its id.
package struct AcceptContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    /// The connection, for the peer's address.
    let channel: any Channel
    /// `X-Request-Id` of the response.
    var requestID = ""

    package init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}
