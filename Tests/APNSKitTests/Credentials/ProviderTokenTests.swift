import APNSKit
import APNSWire
import Crypto
import Foundation
import Testing

@Suite struct `Provider token` {
    private let privateKey = P256.Signing.PrivateKey()

    private func key() throws -> ProviderTokenKey {
        try ProviderTokenKey(pem: privateKey.pemRepresentation, keyID: "ABC123DEFG", teamID: "DEF123GHIJ")
    }

    private func base64URL(_ text: Substring) -> Data? {
        var base64 = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        while base64.count % 4 != 0 { base64 += "=" }
        return Data(base64Encoded: base64)
    }

    @Test func `a token is a JWT that the public key verifies`() throws {
        let token = try ProviderToken.sign(with: key(), now: UNIXTime(secondsSince1970: 1_790_000_000))
        #expect(token.authorization.hasPrefix("bearer "))
        let parts = token.authorization.dropFirst(7).split(separator: ".", omittingEmptySubsequences: false)
        #expect(parts.count == 3)
        #expect(!token.authorization.contains(where: { "+/=".contains($0) }))
        #expect(base64URL(parts[0]) == Data(#"{"alg":"ES256","kid":"ABC123DEFG"}"#.utf8))
        #expect(base64URL(parts[1]) == Data(#"{"iss":"DEF123GHIJ","iat":1790000000}"#.utf8))
        let raw = try #require(base64URL(parts[2]))
        #expect(raw.count == 64)
        let signature = try P256.Signing.ECDSASignature(rawRepresentation: raw)
        #expect(privateKey.publicKey.isValidSignature(signature, for: Data("\(parts[0]).\(parts[1])".utf8)))
    }

    @Test func `a token is renewed after fifty minutes`() throws {
        let time = TestWallClock()
        let source = ProviderTokenSource(key: try key(), clock: time.clock)
        let first = try source.current()
        #expect(first.issuedAt == time.now)
        time.advance(by: 2999)
        #expect(try source.current() == first)
        time.advance(by: 1)
        let second = try source.current()
        #expect(second != first)
        #expect(second.issuedAt == time.now)
        #expect(try source.current() == second)
    }

    @Test func `a token from the future is replaced after the clock was set back`() throws {
        let time = TestWallClock()
        let source = ProviderTokenSource(key: try key(), clock: time.clock)
        let first = try source.current()
        time.advance(by: -600)
        #expect(try source.current() == first)
        time.advance(by: -2400)
        #expect(try source.current().issuedAt == time.now)
    }

    @Test func `an expired token is replaced by force at most once in twenty minutes`() throws {
        let time = TestWallClock()
        let source = ProviderTokenSource(key: try key(), clock: time.clock)
        let first = try source.current()
        time.advance(by: 60)
        #expect(try source.renew(insteadOf: first))
        let second = try source.current()
        #expect(second.issuedAt == time.now)
        // Late answers to requests with the first token have no effect.
        time.advance(by: 5)
        #expect(try source.renew(insteadOf: first))
        #expect(try source.current() == second)
        // A new token that is rejected as well is not replaced again.
        #expect(try !source.renew(insteadOf: second))
        #expect(try source.current() == second)
        time.advance(by: 1200)
        #expect(try source.renew(insteadOf: second))
        #expect(try source.current() != second)
    }

    @Test func `after TooManyProviderTokenUpdates the token is kept for twenty minutes`() throws {
        let time = TestWallClock()
        let source = ProviderTokenSource(key: try key(), clock: time.clock)
        let first = try source.current()
        time.advance(by: 2900)
        source.freeze()
        time.advance(by: 1199)
        #expect(try source.current() == first)
        #expect(try !source.renew(insteadOf: first))
        time.advance(by: 1)
        #expect(try source.current() != first)
    }

    // MARK: Keys

    private func code(_ pem: String) -> ProviderTokenError.Code? {
        do throws(ProviderTokenError) {
            _ = try ProviderTokenKey(pem: pem, keyID: "K", teamID: "T")
            return nil
        } catch {
            return error.code
        }
    }

    @Test func `each invalid key has its error code`() {
        #expect(code(privateKey.pemRepresentation) == nil)
        #expect(code(privateKey.pemRepresentation.replacingOccurrences(of: "\n", with: "\r\n")) == nil)
        #expect(code("") == .notPEM)
        #expect(code("not a key") == .notPEM)
        #expect(code("-----BEGIN PRIVATE KEY-----") == .notP256)
        #expect(code("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n") == .notP256)
        #expect(code(privateKey.publicKey.pemRepresentation) == .notP256)
        #expect(code(P384.Signing.PrivateKey().pemRepresentation) == .notP256)
        #expect(code(P521.Signing.PrivateKey().pemRepresentation) == .notP256)
        #expect(code(String(privateKey.pemRepresentation.dropLast(60))) == .notP256)
    }

    @Test func `no error and no description contains the key`() throws {
        let pem = privateKey.pemRepresentation
        let secret = pem.split(separator: "\n")[1].prefix(20)
        let broken = pem.replacingOccurrences(of: "-----END", with: "-----FIN")
        for pem in [broken, String(secret), "-----BEGIN \(secret)-----"] {
            do {
                _ = try ProviderTokenKey(pem: pem, keyID: "K", teamID: "T")
                Issue.record("an invalid key was accepted")
            } catch {
                #expect(!"\(error) \(String(reflecting: error))".contains(secret))
            }
        }
        let key = try key()
        var shown = "\(key) \(String(reflecting: key))"
        dump(key, to: &shown)
        let token = try ProviderToken.sign(with: key, now: UNIXTime(secondsSince1970: 1))
        shown += "\(token) \(String(reflecting: token))"
        dump(token, to: &shown)
        #expect(!shown.contains(secret))
        #expect(!shown.contains("bearer"))
        #expect(shown.contains("ABC123DEFG"))
    }

    @Test func `invalid identifiers are rejected`() {
        let pem = privateKey.pemRepresentation
        for text in ["", "a\"b", "a b", "é", "a\n", String(repeating: "A", count: 65)] {
            #expect(throws: ProviderTokenError.self) { try ProviderTokenKey(pem: pem, keyID: text, teamID: "T") }
            #expect(throws: ProviderTokenError.self) { try ProviderTokenKey(pem: pem, keyID: "K", teamID: text) }
        }
    }

    @Test func `a key is read from a file`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "AuthKey.p8").path
        try Data(privateKey.pemRepresentation.utf8).write(to: URL(fileURLWithPath: path))
        #expect(try ProviderTokenKey(file: path, keyID: "K", teamID: "T").keyID == "K")
        for (path, code) in [(path + "x", ProviderTokenError.Code.unreadable), (folder.path, .unreadable)] {
            do throws(ProviderTokenError) {
                _ = try ProviderTokenKey(file: path, keyID: "K", teamID: "T")
                Issue.record("\(path) was read")
            } catch {
                #expect(error.code == code)
                #expect(error.message.contains(path))
            }
        }
        try Data([0xFF, 0xFE, 0x00]).write(to: URL(fileURLWithPath: path))
        do throws(ProviderTokenError) {
            _ = try ProviderTokenKey(file: path, keyID: "K", teamID: "T")
        } catch {
            #expect(error.code == .notPEM)
        }
    }
}
