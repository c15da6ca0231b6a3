import HTTPTypes

/// Refuses requests that a browser sends for a page of another site, with 403.
///
/// Every page that a browser on the same network shows can send requests to the gateway, and it does not authenticate
/// callers. Only browsers send these fields.
struct OriginCheck: RequestCheck {
    /// Names of this server, in lower case, in addition to the `Host` of the request.
    private let names: Set<String>

    init(names: [String]) {
        self.names = Set(names.map { $0.lowercased() })
    }

    func check(_ head: RequestHead, _ fields: inout HTTPFields) throws(Problem) {
        if let origin = head.fields[.origin], !isOwn(origin, head.request.authority) {
            throw Problem(.forbidden, nil, "a web page of another origin cannot use this API")
        }
        if head.fields.contains(.secFetchSite), head.fields[.secFetchSite] == "cross-site" {
            throw Problem(.forbidden, nil, "a web page of another site cannot use this API")
        }
    }

    /// Whether `origin` is that of a page of this server. The scheme does not count: a proxy may terminate TLS.
    private func isOwn(_ origin: String, _ authority: String?) -> Bool {
        let origin = origin.lowercased()
        guard let scheme = ["http://", "https://"].first(where: { origin.hasPrefix($0) }) else { return false }
        let host = origin.dropFirst(scheme.count)
        return host == authority?.lowercased() ?? "" || names.contains(HostCheck.name(of: host))
    }
}
