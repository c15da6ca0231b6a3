import Foundation
import GodwitCLI
import Testing

@Suite struct `The connection to a gateway` {
    private static let secret = "hunter2"

    private static func authorization(
        _ url: String, headers: [String] = [], apiKey: String? = nil, defaultKey: String? = nil
    ) throws -> [String] {
        try GatewayConnection(url: url, headers: headers, apiKey: apiKey, defaultKey: defaultKey)
            .authorization
    }

    @Test func `has one source of the header Authorization`() throws {
        #expect(try Self.authorization("http://h") == [])
        #expect(try Self.authorization("http://h", apiKey: "k") == ["Bearer k"])
        #expect(try Self.authorization("http://h", defaultKey: "k") == ["Bearer k"])
        #expect(try Self.authorization("http://h", apiKey: "k", defaultKey: "other") == ["Bearer k"])
        #expect(try Self.authorization("http://h", headers: ["authorization: x y"], defaultKey: "k") == ["x y"])
        #expect(try Self.authorization("http://me:p%40ss@h") == ["Basic " + Data("me:p@ss".utf8).base64EncodedString()])
        for (url, headers, key, defaultKey) in [
            ("http://me:\(Self.secret)@h", [], "k", nil), ("http://me:\(Self.secret)@h", [], nil, Self.secret),
            ("http://h", ["Authorization: \(Self.secret)"], "k", nil),
        ] as [(String, [String], String?, String?)] {
            let error = #expect(throws: (any Error).self) {
                try Self.authorization(url, headers: headers, apiKey: key, defaultKey: defaultKey)
            }
            let text = error.map { "\($0)" } ?? ""
            #expect(text.contains("each set the header Authorization") && !text.contains(Self.secret), "\(text)")
        }
    }

    @Test func `does not show the user and the password of the URL`() throws {
        let connection = try GatewayConnection(url: "https://me:\(Self.secret)@example.com:8443/godwit/")
        #expect(connection.url == "https://example.com:8443/godwit")
        #expect("\(connection)" == connection.url)
    }

    @Test(arguments: [
        "nowhere", "ftp://h", "http://", "http://me:hunter2@h:port", "http://me:hunter2@", "http://h?key=hunter2",
        "http://h#x", "me:hunter2@h",
    ])
    func `refuses another URL without its password`(_ url: String) {
        let error = #expect(throws: (any Error).self) { try GatewayConnection(url: url) }
        let text = error.map { "\($0)" } ?? ""
        #expect(text.contains("URL") && !text.contains(Self.secret), "\(text)")
    }

    @Test(arguments: [
        "hunter2", ": hunter2", "a b: hunter2", "X-Key: hunter2\r\nX-Other: y", "Content-Type: hunter2",
        "Idempotency-Key: hunter2",
    ])
    func `refuses another header without its value`(_ header: String) {
        let error = #expect(throws: (any Error).self) {
            try GatewayConnection(url: "http://h", headers: [header])
        }
        let text = error.map { "\($0)" } ?? ""
        #expect(text.contains("--header") && !text.contains(Self.secret), "\(text)")
    }

    @Test func `refuses a key that no header can hold`() {
        let error = #expect(throws: (any Error).self) {
            try GatewayConnection(url: "http://h", defaultKey: "hunter2\nx")
        }
        #expect(error.map { "\($0)" } == "GODWIT_API_KEY must be printable ASCII characters without spaces")
    }
}
