package import Hummingbird
import NIOCore

/// What a route knows of its request beside the request itself.
package struct AcceptContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    /// The connection; asked for the peer's address by the routes that need it.
    let channel: any Channel
    /// What the answer's `X-Request-Id` says.
    var requestID = ""

    package init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}
