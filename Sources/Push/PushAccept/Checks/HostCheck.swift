import HTTPTypes

/// Refuses requests for a host name that is not one of this server, with 421.
///
/// A web page can give its own name the address of this server (DNS rebinding), and a browser then treats the server as
/// part of the page's site. An address is always accepted, because it is not a name.
struct HostCheck: RequestCheck {
    /// In lower case.
    private let names: Set<String>

    /// - Parameters:
    ///   - host: the address of the listener.
    ///   - names: those of the configuration.
    /// - Returns: nil if every name is accepted: the listener is not on loopback, and no names are configured.
    init?(listener host: String, names: [String]) {
        let host = host.lowercased()
        guard !names.isEmpty || host == "localhost" || ClientAddress(host)?.isLoopback == true else { return nil }
        self.names = Set(names.map { $0.lowercased() } + [host])
    }

    func check(_ head: RequestHead, _ fields: inout HTTPFields) throws(Problem) {
        // Without a name: HTTP/1.0, which no browser sends.
        guard let authority = head.request.authority, !authority.isEmpty else { return }
        let name = Self.name(of: authority)
        guard name != "localhost", !name.hasSuffix(".localhost"), !names.contains(name), ClientAddress(name) == nil
        else { return }
        throw Problem(
            .misdirectedRequest, nil, "the Host is not a name of this server; use its address, or add it to http.hosts"
        )
    }

    /// The name of `name:port` or `[::1]:port`, in lower case, without a final dot.
    static func name(of authority: some StringProtocol) -> String {
        let text = authority.lowercased()
        if text.hasPrefix("[") { return String(text.dropFirst().prefix { $0 != "]" }) }
        let name = text.prefix { $0 != ":" }
        return String(name.hasSuffix(".") ? name.dropLast() : name)
    }
}
