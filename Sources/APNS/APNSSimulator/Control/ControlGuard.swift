import Hummingbird
import NIOCore

/// Keeps foreign web pages away from the control API, which has no other lock and shows what was pushed.
///
/// A browser on this machine would carry a foreign page's request to the loopback address. Two signs give it away: the
/// name it was asked for is not ours (DNS rebinding), or it changes something and comes from another origin. Programs
/// that are no browsers send neither `Origin` nor `Sec-Fetch-Site`, and are let through.
struct ControlGuard: RouterMiddleware {
    /// The address that the control API is bound to.
    let host: String

    func handle(
        _ request: Request, context: BasicRequestContext,
        next: (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        let authority = request.head.authority ?? ""
        guard authority.isEmpty || Self.isOurs(authority, boundTo: host) else {
            throw Problem(.forbidden, "this API answers to loopback names only")
        }
        if request.method != .get, request.method != .head, Self.isForeign(request, authority: authority) {
            throw Problem(.forbidden, "another web page may not change anything here")
        }
        var response = try await next(request, context)
        // Nobody may guess the type of what is shown, nor read it from another origin.
        response.headers[.xContentTypeOptions] = "nosniff"
        response.headers[.crossOriginResourcePolicy] = "same-origin"
        return response
    }

    /// Whether `authority` (`name`, `name:port`, `[::1]:port`) is a name that this server goes by.
    ///
    /// A server bound to every address cannot know its names, so there it is any address in numbers: a rebound name is
    /// never one.
    static func isOurs(_ authority: String, boundTo host: String) -> Bool {
        let name = hostName(of: authority)
        if name == "localhost" || name.hasSuffix(".localhost") || name == host.lowercased() { return true }
        guard let address = try? SocketAddress(ipAddress: name, port: 0) else { return false }
        let isLoopback = name == "::1" || (name.hasPrefix("127.") && address.protocol == .inet)
        return isLoopback || host == "0.0.0.0" || host == "::"
    }

    private static func hostName(of authority: String) -> String {
        let text = authority.lowercased()
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            return String(text[text.index(after: text.startIndex)..<end])
        }
        return String(text.prefix { $0 != ":" })
    }

    private static func isForeign(_ request: Request, authority: String) -> Bool {
        if let origin = request.headers[.origin], origin.lowercased() != "http://\(authority.lowercased())" {
            return true
        }
        let site = request.headers.first { $0.name.canonicalName == "sec-fetch-site" }?.value
        return site == "cross-site" || site == "same-site"
    }
}
