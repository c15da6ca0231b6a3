import HTTPTypes
import NIOCore

/// Determines the caller of a request: the address of the connection, or what a trusted proxy states.
struct CallerResolver: Sendable {
    /// The proxies whose `Forwarded` and `X-Forwarded-For` fields are read.
    let trustedProxies: [AddressRange]

    /// - Parameter peer: the address of the connection; nil if it is not an IP address.
    func caller(of fields: HTTPFields, peer: ClientAddress?) -> Caller {
        guard let peer, isTrusted(peer) else { return Caller(address: peer) }
        return Caller(address: client(in: fields) ?? peer)
    }

    private func isTrusted(_ address: ClientAddress) -> Bool { trustedProxies.contains { $0.contains(address) } }

    /// The client that the proxy states; nil if it states none, or two different ones.
    ///
    /// A proxy that sets one of the two fields may pass the other on as the client sent it, so a client could choose its
    /// own address. If they differ, neither is used.
    private func client(in fields: HTTPFields) -> ClientAddress? {
        switch (fields[.forwarded], fields[.forwardedFor]) {
        case (nil, nil): nil
        case (let forwarded?, nil): client(in: Self.forwardedAddresses(forwarded))
        case (nil, let forwardedFor?): client(in: Self.addresses(forwardedFor))
        case (let forwarded?, let forwardedFor?):
            {
                let client = client(in: Self.addresses(forwardedFor))
                return client == self.client(in: Self.forwardedAddresses(forwarded)) ? client : nil
            }()
        }
    }

    /// The last address that is not one of a trusted proxy: each proxy appends the address of its own peer, so what
    /// comes before is only stated by the client.
    ///
    /// - Parameter hops: nil for a hop that hides its address.
    private func client(in hops: [ClientAddress?]) -> ClientAddress? {
        var client: ClientAddress?
        for hop in hops.reversed() {
            guard let hop else { return client }
            client = hop
            guard isTrusted(hop) else { break }
        }
        return client
    }

    /// Limit of hops that are read, from the last one.
    private static let hopsMax = 32

    private static func addresses(_ field: String) -> [ClientAddress?] {
        field.split(separator: ",", omittingEmptySubsequences: false).suffix(hopsMax).map(address)
    }

    /// The `for` parameter of each element. RFC 7239, 4.
    private static func forwardedAddresses(_ field: String) -> [ClientAddress?] {
        field.split(separator: ",", omittingEmptySubsequences: false).suffix(hopsMax).map { element in
            for pair in element.split(separator: ";") {
                let parts = pair.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, trimmed(parts[0]).lowercased() == "for" else { continue }
                return address(parts[1])
            }
            return nil
        }
    }

    /// An address with an optional port: `192.0.2.1`, `192.0.2.1:443`, `"[2001:db8::1]:443"`, `2001:db8::1`.
    private static func address(_ text: Substring) -> ClientAddress? {
        var text = trimmed(text)
        if text.count >= 2, text.first == "\"", text.last == "\"" { text = text.dropFirst().dropLast() }
        if text.first == "[" { return ClientAddress(text.dropFirst().prefix { $0 != "]" }) }
        // More than one colon: an IPv6 address without brackets, as many proxies write it.
        let isIPv6 = text.count { $0 == ":" } > 1
        return ClientAddress(isIPv6 ? text : text.prefix { $0 != ":" })
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}
