import HTTPTypes
import NIOCore
import Testing

@testable import PushAccept

@Suite struct `The caller of a request` {
    private static let resolver = CallerResolver(
        trustedProxies: ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"].compactMap(AddressRange.init)
    )

    private static func caller(_ fields: [(String, String)], peer: String = "10.1.2.3") -> String? {
        let fields = HTTPFields(fields.map { HTTPField(name: HTTPField.Name($0.0)!, value: $0.1) })
        return resolver.caller(of: fields, peer: ClientAddress(peer)).address?.description
    }

    @Test(arguments: [
        // The proxy states no client.
        ([], "10.1.2.3"), ([("X-Forwarded-For", "")], "10.1.2.3"),
        // The last address that is not a proxy's: the client itself stated what comes before.
        ([("X-Forwarded-For", "192.0.2.1")], "192.0.2.1"),
        ([("X-Forwarded-For", "198.51.100.7, 192.0.2.1 ,10.9.9.9")], "192.0.2.1"),
        ([("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-For", "192.0.2.1")], "192.0.2.1"),
        ([("X-Forwarded-For", "10.0.0.2, 10.0.0.3")], "10.0.0.2"),
        ([("X-Forwarded-For", "192.0.2.1:4711")], "192.0.2.1"),
        ([("X-Forwarded-For", "2a00::1")], "2a00::1"), ([("X-Forwarded-For", "[2a00::1]:80")], "2a00::1"),
        ([("X-Forwarded-For", "::ffff:192.0.2.1")], "192.0.2.1"),
        ([("X-Forwarded-For", "192.0.2.1, unknown, 10.0.0.2")], "10.0.0.2"),
        ([("X-Forwarded-For", "192.0.2.1, junk")], "10.1.2.3"),
        ([("Forwarded", "for=192.0.2.1")], "192.0.2.1"),
        ([("Forwarded", #"for=198.51.100.7, proto=https; For="[2a00::1]:4711";by=10.0.0.1"#)], "2a00::1"),
        ([("Forwarded", "for=_hidden")], "10.1.2.3"), ([("Forwarded", "proto=https")], "10.1.2.3"),
        // A proxy that sets one field may pass on the other.
        ([("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "192.0.2.1")], "192.0.2.1"),
        ([("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "192.0.2.9")], "10.1.2.3"),
    ])
    func `is what a trusted proxy states`(fields: [(String, String)], expected: String) {
        #expect(Self.caller(fields) == expected)
    }

    @Test func `is the peer if that is not a trusted proxy`() {
        #expect(Self.caller([("X-Forwarded-For", "192.0.2.1")], peer: "198.51.100.7") == "198.51.100.7")
        #expect(Self.caller([("X-Forwarded-For", "192.0.2.1")], peer: "::1") == "::1")
    }

    @Test func `is the same for all addresses of an IPv6 network of 64 bits`() {
        func key(_ address: String) -> UInt64 { Caller(address: ClientAddress(address)).limitKey }
        #expect(key("2a00:0:0:1::1") == key("2a00:0:0:1:ffff::2"))
        #expect(key("2a00:0:0:1::1") != key("2a00:0:0:2::1"))
        #expect(key("192.0.2.1") != key("192.0.2.2"))
        #expect(key("192.0.2.1") == key("::ffff:192.0.2.1"))
    }

    @Test(arguments: [
        ("192.0.2.0/24", "192.0.2.255", true), ("192.0.2.0/24", "192.0.3.0", false), ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false), ("0.0.0.0/0", "198.51.100.7", true), ("0.0.0.0/0", "2a00::1", false),
        ("2a00::/16", "2a00:ffff::1", true), ("2a00::/16", "2a01::1", false), ("::/0", "2a00::1", true),
        ("2a00::1:0/112", "2a00::1:ffff", true), ("2a00::1:0/112", "2a00::2:0", false), ("::1/128", "::1", true),
    ])
    func `a range contains the addresses with its prefix`(range: String, address: String, isInside: Bool) throws {
        let range = try #require(AddressRange(range))
        #expect(range.contains(try #require(ClientAddress(address))) == isInside)
    }

    @Test(arguments: [
        "", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "example.com", "10.0.0.0/8/8", "10.1",
    ])
    func `a range must be an address with an optional prefix length`(text: String) {
        #expect(AddressRange(text) == nil)
    }
}
