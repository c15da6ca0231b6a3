package import ArgumentParser
import Foundation
import NIOHTTP1
import NIOSSL
import PushGateway

/// How to reach a gateway: its address, and what proves who the caller is.
///
/// Has no description of its secrets: `url` is without user and password, and no error repeats a header.
package struct GatewayConnection: Sendable {
    /// Without user, password and a trailing slash.
    package let url: String
    /// For each request. The names are unique, except those that the user gave twice.
    let headers: HTTPHeaders
    /// The certificates to trust; nil: those of the system.
    private(set) var certificates: [NIOSSLCertificate]?

    /// What a request determines itself.
    private static let reservedHeaders: Set = [
        "accept", "connection", "content-length", "content-type", "idempotency-key", "transfer-encoding",
    ]

    /// - Parameters:
    ///   - url: may have a user and a password, which become the header `Authorization`.
    ///   - headers: each `Name: value`.
    ///   - apiKey: becomes `Authorization: Bearer …`; nil without one.
    ///   - defaultKey: as `apiKey`, for a caller without another `Authorization`.
    /// - Throws: `ValidationError`, whose text has neither the URL's password, nor a header's value, nor a key.
    package init(
        url: String, headers: [String] = [], apiKey: String? = nil, defaultKey: String? = nil
    ) throws(ValidationError) {
        // An @ may belong to a password.
        let shown = url.contains("@") ? "the URL" : "'\(url)'"
        guard var parts = URLComponents(string: url), ["http", "https"].contains(parts.scheme?.lowercased()),
            parts.host?.isEmpty == false
        else { throw ValidationError("\(shown) is not a URL such as http://127.0.0.1:8025") }
        guard parts.query == nil, parts.fragment == nil else {
            throw ValidationError("the URL of a gateway has no query and no fragment")
        }
        var found: HTTPHeaders = [:]
        for header in headers {
            let (name, value) = try Self.header(header)
            found.add(name: name, value: value)
        }
        var sources: [String] = found.contains(name: "Authorization") ? ["--header"] : []
        if let apiKey {
            sources.append("--api-key-file")
            found.add(name: "Authorization", value: "Bearer \(apiKey)")
        }
        if let user = parts.user {
            sources.append("the user in the URL")
            let credentials = Data("\(user):\(parts.password ?? "")".utf8).base64EncodedString()
            found.add(name: "Authorization", value: "Basic \(credentials)")
            if let defaultKey, sources.count == 1, !defaultKey.isEmpty { sources.append("GODWIT_API_KEY") }
        }
        guard sources.count <= 1 else {
            throw ValidationError("\(sources.joined(separator: " and ")) each set the header Authorization; give one")
        }
        if sources.isEmpty, let defaultKey {
            guard Self.isAPIKey(defaultKey) else {
                throw ValidationError("GODWIT_API_KEY must be printable ASCII characters without spaces")
            }
            found.add(name: "Authorization", value: "Bearer \(defaultKey)")
        }
        (parts.user, parts.password) = (nil, nil)
        let clean = parts.string ?? ""
        self.url = clean.hasSuffix("/") ? String(clean.dropLast()) : clean
        self.headers = found
    }

    package static func isAPIKey(_ text: String) -> Bool {
        (1...4096).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    private static func header(_ text: String) throws(ValidationError) -> (name: String, value: String) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let isToken = parts[0].utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                || "!#$%&'*+-.^_`|~".utf8.contains($0)
        }
        guard parts.count == 2, isToken, !parts[0].isEmpty else {
            throw ValidationError("--header must be 'Name: value'")
        }
        let name = String(parts[0])
        guard !reservedHeaders.contains(name.lowercased()) else {
            throw ValidationError("--header cannot set \(name): the command sets it")
        }
        let value = parts[1].trimmingCharacters(in: .whitespaces)
        guard value.utf8.allSatisfy({ $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F }) else {
            throw ValidationError("the value of --header \(name) has control characters")
        }
        return (name, value)
    }

    /// Trusts only the certificates in a PEM file.
    mutating func trust(file: String) throws(CommandError) {
        let pem: String
        do throws(UnreadableFile) {
            pem = try TextFile.read(file)
        } catch {
            throw CommandError("--ca \(file) cannot be read: \(error)")
        }
        let found = (try? NIOSSLCertificate.fromPEMBytes(Array(pem.utf8))) ?? []
        guard !found.isEmpty else { throw CommandError("--ca \(file) has no certificate in PEM") }
        certificates = found
    }

    /// The TLS settings; nil for those of the library.
    var tls: TLSConfiguration? {
        guard let certificates else { return nil }
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(certificates)
        return tls
    }
}

extension GatewayConnection {
    /// The values of the header `Authorization`, for tests.
    package var authorization: [String] { headers["Authorization"] }
}

extension GatewayConnection: CustomStringConvertible {
    package var description: String { url }
}
