#if SimulatorControl
import Hummingbird
import NIOCore

/// The phone page: three files that are compiled into the program.
struct PageFile: Sendable {
    /// The path of the URL.
    let path: String
    let contentType: String
    let text: String

    static let all = [
        PageFile(path: "/", contentType: "text/html; charset=utf-8", text: PageText.html),
        PageFile(path: "/page.css", contentType: "text/css; charset=utf-8", text: PageText.css),
        PageFile(path: "/page.js", contentType: "text/javascript; charset=utf-8", text: PageText.js),
    ]

    /// Payloads are untrusted. This policy restricts the page to its own script, style and server.
    private static let policy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
        "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
    ].joined(separator: "; ")

    func response() -> Response {
        Response(
            status: .ok,
            headers: [.contentType: contentType, .cacheControl: "no-cache", .contentSecurityPolicy: Self.policy],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }
}
#endif
