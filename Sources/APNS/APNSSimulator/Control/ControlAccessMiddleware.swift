#if SimulatorControl
import Hummingbird
import NIOCore

/// Rejects requests from other web sites, because the control API has no authentication and shows payloads.
///
/// A browser on the same machine forwards requests of any web page to the loopback address. This middleware detects
/// them in two ways: the `Host` is not a name of this server (DNS rebinding), or a request that changes state has a
/// foreign origin. Clients other than browsers send neither `Origin` nor `Sec-Fetch-Site` and are accepted.
struct ControlAccessMiddleware: RouterMiddleware {
    /// The address that the control API is bound to.
    let host: String

    func handle(
        _ request: Request, context: BasicRequestContext,
        next: (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        let authority = request.head.authority ?? ""
        guard authority.isEmpty || Self.isOurs(authority, boundTo: host) else {
            throw ControlProblem(.forbidden, "the Host header must be a loopback name or the address of this server")
        }
        if request.method != .get, request.method != .head, Self.isForeign(request, authority: authority) {
            throw ControlProblem(.forbidden, "requests from other origins are read-only")
        }
        var response = try await next(request, context)
        // Prevents content sniffing and reads from other origins.
        response.headers[.xContentTypeOptions] = "nosniff"
        response.headers[.crossOriginResourcePolicy] = "same-origin"
        return response
    }

    /// Whether `authority` (`name`, `name:port`, `[::1]:port`) is a name of this server.
    ///
    /// A server bound to all addresses cannot determine its names, so it accepts any numeric address, which a rebound
    /// DNS name never is.
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
#endif
