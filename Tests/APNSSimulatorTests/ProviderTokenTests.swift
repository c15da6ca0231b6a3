import APNSSimulator
import APNSWire
import Foundation
import Testing

/// Checks provider tokens as one connection does, without a connection.
private struct TokenChecker {
    private var authentication = ConnectionAuthentication()
    private let verifier: ProviderTokenVerifier

    init(_ keys: [SimulatorSigningKey], environment: SimulatorConfiguration.Environment = .production) {
        var configuration = SimulatorConfiguration(authentication: .signingKeys(keys))
        configuration.environment = environment
        verifier = ProviderTokenVerifier(configuration)
    }

    init(unverified: Void) {
        verifier = ProviderTokenVerifier(SimulatorConfiguration(authentication: .unverified))
    }

    mutating func check(_ token: String, now: Int64 = 0, scheme: String = "bearer ") -> APNSReason? {
        Array("\(scheme)\(token)".utf8).withUnsafeBytes { authentication.check($0, now: now, verifier: verifier) }
    }
}

@Suite struct `Provider tokens` {
    let now: Int64 = 1_700_000_000
    let credentials = SimulatorCredentials(teamID: "TEAM000001", keyID: "KEY0000001")

    @Test(arguments: [SimulatorCredentials.SignatureForm.raw, .der])
    func `both signature forms are valid`(_ form: SimulatorCredentials.SignatureForm) throws {
        var checker = TokenChecker([credentials.signingKey])
        #expect(checker.check(try credentials.providerToken(issuedAt: now, signature: form), now: now) == nil)
    }

    @Test func `the scheme is case-insensitive`() throws {
        let token = try credentials.providerToken(issuedAt: now)
        for scheme in ["bearer ", "Bearer ", "BEARER "] {
            var checker = TokenChecker([credentials.signingKey])
            #expect(checker.check(token, now: now, scheme: scheme) == nil)
        }
        var checker = TokenChecker([credentials.signingKey])
        #expect(checker.check(token, now: now, scheme: "basic ") == .missingProviderToken)
        #expect(checker.check("", now: now) == .missingProviderToken)
    }

    @Test func `a token is valid for an hour, cached or not`() throws {
        var checker = TokenChecker([credentials.signingKey])
        let token = try credentials.providerToken(issuedAt: now)
        #expect(checker.check(token, now: now + 3601) == .expiredProviderToken)
        #expect(checker.check(token, now: now + 3600) == nil)
        #expect(checker.check(token, now: now + 3601) == .expiredProviderToken)
        #expect(checker.check(token, now: now - 3600) == nil)
        #expect(checker.check(token, now: now - 3601) == .invalidProviderToken)
    }

    @Test func `forged and malformed tokens are refused`() throws {
        let token = try credentials.providerToken(issuedAt: now)
        let parts = token.split(separator: ".").map(String.init)
        let other = SimulatorCredentials(teamID: "TEAM000001", keyID: "KEY0000001")
        let otherTeam = SimulatorCredentials(teamID: "TEAM000002", keyID: "KEY0000001")
        let otherKey = SimulatorCredentials(teamID: "TEAM000001", keyID: "KEY0000002")
        let later = try credentials.providerToken(issuedAt: now + 1).split(separator: ".").map(String.init)
        func encoded(_ text: String) -> String {
            Data(text.utf8).base64EncodedString().replacing("=", with: "").replacing("+", with: "-")
                .replacing("/", with: "_")
        }
        let forged = [
            try other.providerToken(issuedAt: now),
            try otherTeam.providerToken(issuedAt: now),
            try otherKey.providerToken(issuedAt: now),
            "\(parts[0]).\(later[1]).\(parts[2])",
            "\(parts[0]).\(parts[1])",
            "\(parts[0]).\(parts[1]).",
            "\(token).\(parts[2])",
            "\(parts[0]).\(parts[1]).\(parts[2])=",
            "\(encoded(#"{"alg":"none","kid":"KEY0000001"}"#)).\(parts[1]).",
            "\(encoded(#"{"alg":"RS256","kid":"KEY0000001"}"#)).\(parts[1]).\(parts[2])",
            "\(encoded(#"{"alg":"ES256"}"#)).\(parts[1]).\(parts[2])",
            "\(encoded("[]")).\(parts[1]).\(parts[2])",
            String(repeating: "a", count: 5000),
        ]
        for text in forged {
            var checker = TokenChecker([credentials.signingKey])
            #expect(checker.check(text, now: now) == .invalidProviderToken, "\(text.prefix(60))")
        }
    }

    @Test func `the issuer must be the team that owns the key`() throws {
        let key = try SimulatorSigningKey(teamID: "TEAM000009", keyID: "KEY0000001", pem: credentials.privateKeyPEM)
        var checker = TokenChecker([key])
        #expect(checker.check(try credentials.providerToken(issuedAt: now), now: now) == .invalidProviderToken)
    }

    @Test func `a token can be renewed every 20 minutes, and the previous one stays valid`() throws {
        var checker = TokenChecker([credentials.signingKey])
        let first = try credentials.providerToken(issuedAt: now)
        #expect(checker.check(first, now: now) == nil)
        #expect(checker.check(try credentials.providerToken(issuedAt: now), now: now) == .tooManyProviderTokenUpdates)
        let early = try credentials.providerToken(issuedAt: now + 1199)
        #expect(checker.check(early, now: now + 1199) == .tooManyProviderTokenUpdates)
        let second = try credentials.providerToken(issuedAt: now + 1200)
        #expect(checker.check(second, now: now + 1200) == nil)
        #expect(checker.check(first, now: now + 1200) == nil)
        #expect(checker.check(second, now: now + 1200) == nil)
    }

    @Test func `a connection belongs to the team of its first push`() throws {
        let otherTeam = SimulatorCredentials(teamID: "TEAM000002", keyID: "KEY0000009")
        let sibling = SimulatorCredentials(teamID: "TEAM000001", keyID: "KEY0000002")
        var narrow = sibling.signingKey
        narrow.topics = ["com.example.app"]

        var checker = TokenChecker([credentials.signingKey, otherTeam.signingKey, sibling.signingKey])
        #expect(checker.check(try credentials.providerToken(issuedAt: now), now: now) == nil)
        #expect(checker.check(try otherTeam.providerToken(issuedAt: now), now: now) == .invalidProviderToken)
        #expect(checker.check(try sibling.providerToken(issuedAt: now), now: now) == nil)

        var strict = TokenChecker([credentials.signingKey, narrow])
        #expect(strict.check(try credentials.providerToken(issuedAt: now), now: now) == nil)
        #expect(strict.check(try sibling.providerToken(issuedAt: now), now: now) == .unrelatedKeyIdInToken)
    }

    @Test func `a key of the other environment is refused`() throws {
        var key = credentials.signingKey
        key.environment = .sandbox
        let token = try credentials.providerToken(issuedAt: now)
        var production = TokenChecker([key])
        #expect(production.check(token, now: now) == .badEnvironmentKeyIdInToken)
        var sandbox = TokenChecker([key], environment: .sandbox)
        #expect(sandbox.check(token, now: now) == nil)
    }

    @Test func `without signature verification, form and age are still checked`() throws {
        var checker = TokenChecker(unverified: ())
        let unknown = SimulatorCredentials(teamID: "ANYTEAM000", keyID: "ANYKEY0000")
        #expect(checker.check("abc", now: now) == .invalidProviderToken)
        #expect(checker.check(try unknown.providerToken(issuedAt: now - 4000), now: now) == .expiredProviderToken)
        #expect(checker.check(try unknown.providerToken(issuedAt: now), now: now) == nil)
    }

    @Test func `a generated key has the form of a p8 file and can be loaded as PEM`() throws {
        #expect(credentials.privateKeyPEM.hasPrefix("-----BEGIN PRIVATE KEY-----"))
        let key = try SimulatorSigningKey(teamID: "TEAM000001", keyID: "KEY0000001", pem: credentials.privateKeyPEM)
        var checker = TokenChecker([key])
        #expect(checker.check(try credentials.providerToken(issuedAt: now), now: now) == nil)
        #expect(throws: SimulatorError.self) { try SimulatorSigningKey(teamID: "T", keyID: "K", pem: "nonsense") }
    }

    @Test func `an expired token is refused over a connection`() async throws {
        try await RunningSimulator.with { running in
            var headers = try running.goodHeaders()
            headers["authorization"] = "bearer \(try running.token(age: 3700))"
            let response = try await running.push(headers: headers)
            #expect(response.status == 403)
            #expect(response.reason == "ExpiredProviderToken")
        }
    }
}
