import APNSKit
import APNSWire
import NIOCore
import NIOPosix
import PushTesting
import Testing

/// What a client reports about connections that cannot be opened, against real servers.
@Suite struct `A failed connection` {
    /// The first failure of a client that has a push to send.
    private func failure(of client: APNSClient) async throws -> APNSConnectionFailure {
        let push = Task { await client.send(Samples.batch(1)) }
        try await waitUntil("a failed connection") { client.snapshot().outage != nil }
        let snapshot = client.snapshot()
        await client.shutdown(grace: .zero)
        #expect(await push.value.allSatisfy { $0.disposition == .neverWritten })
        let failure = try #require(snapshot.outage?.failure)
        #expect(snapshot.failures[failure.cause] ?? 0 > 0)
        #expect(failure.detail.utf8.count <= 300)
        return failure
    }

    @Test func `to a closed port names the system's error and the address`() async throws {
        let port = try freePort()
        let failure = try await failure(of: Samples.client(port: port))
        #expect(
            failure == APNSConnectionFailure(.connectRefused, .refused, "connect: ECONNREFUSED (127.0.0.1:\(port))"))
    }

    @Test func `to a host without an address names the error of the resolver`() async throws {
        let failure = try await failure(of: Samples.client(port: 443, host: "no-such-host.invalid"))
        #expect(failure.failure == .dns && failure.cause == .nameNotResolved)
        #expect(
            failure.detail.contains(/^getaddrinfo: EAI_(NONAME|AGAIN|FAIL) \(no-such-host\.invalid\)$/), "\(failure)")
    }

    @Test func `to a listener that drops new connections has timed out`() async throws {
        let listener = try LoopbackListener()
        // The listener accepts nothing: once its backlog is full, the system drops further SYN packets.
        var fillers: [any Channel] = []
        while fillers.count < 16,
            let filler = try? await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .connectTimeout(.milliseconds(300)).connect(host: "127.0.0.1", port: listener.port).get()
        {
            fillers.append(filler)
        }
        try #require(fillers.count < 16, "the backlog did not fill up")
        let failure = try await failure(
            of: Samples.client(port: listener.port) { $0.connectTimeout = .seconds(1) })
        #expect(failure.failure == .connectTimeout && failure.cause == .timedOut)
        #expect(failure.detail.hasPrefix("no TCP connection to 127.0.0.1"), "\(failure)")
        for filler in fillers { try? await filler.close() }
    }

    @Test func `to a server that never speaks names the step that timed out`() async throws {
        let listener = try LoopbackListener()
        let silent = try await failure(
            of: Samples.client(port: listener.port) { $0.connectTimeout = .milliseconds(300) })
        #expect(silent.cause == .timedOut && silent.detail.contains("did not answer the TLS handshake"), "\(silent)")
        let server = try await ScriptedServer(.init(isSilent: true)) { $0.respond($1, 200) }
        let withoutSettings = try await failure(
            of: Samples.client(port: server.port) { $0.connectTimeout = .milliseconds(300) })
        #expect(withoutSettings.cause == .timedOut)
        #expect(withoutSettings.detail.contains("sent no HTTP/2 SETTINGS"), "\(withoutSettings)")
    }

    @Test(
        arguments: [
            (TestCertificate.untrusted, .certificateUntrusted, "is self-signed, and is not among the trust roots"),
            (.expired, .certificateExpired, "the certificate of 127.0.0.1 expired at 2021-01-01T00:00:00Z"),
            (.notYetValid, .certificateNotYetValid, "is not valid before 2090-01-01T00:00:00Z"),
            (
                .otherName, .certificateForOtherName,
                "the certificate is for push.example.com, push.example.org, 192.0.2.1 and 1 more, not for 127.0.0.1"
            ),
        ] as [(TestCertificate, APNSConnectionFailure.Cause, String)])
    func `because of the server's certificate says what is wrong with it`(
        _ certificate: TestCertificate, _ cause: APNSConnectionFailure.Cause, _ text: String
    ) async throws {
        let server = try await ScriptedServer(.init(certificate: certificate)) { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port) {
            // An untrusted certificate is the only one that is not a trust root.
            $0.trustRoots = .file(
                cause == .certificateUntrusted
                    ? TestCertificate.server.certificatePath : certificate.certificatePath)
        }
        let failure = try await failure(of: client)
        #expect(failure.failure == .tls && failure.cause == cause, "\(failure)")
        #expect(failure.detail.contains(text), "\(failure)")
        #expect(server.requests.isEmpty)
    }

    @Test func `because the server wants a client certificate names the alert`() async throws {
        let server = try await ScriptedServer(.init(trustedClients: TestCertificate.server.certificatePath)) {
            $0.respond($1, 200)
        }
        let client = try Samples.client(port: server.port)
        let push = Task { await client.send(Samples.batch(1)) }
        // The alert of TLS 1.3 can be lost when the server closes the connection with it.
        try await waitUntil("an alert") { client.snapshot().outage?.failure.cause == .tlsRefused }
        let failure = try #require(client.snapshot().outage?.failure)
        await client.shutdown(grace: .zero)
        _ = await push.value
        #expect(failure.failure == .tls && failure.detail.contains("(TLS alert certificate_required)"), "\(failure)")
    }

    @Test(arguments: ["HTTP/1.1 400 Bad Request\r\n\r\n", nil])
    func `to a port without TLS is a failure of TLS`(_ response: String?) async throws {
        let server = try await RawServer(response)
        let failure = try await failure(of: Samples.client(port: server.port))
        #expect(failure.failure == .tls && failure.cause == .tlsFailed, "\(failure)")
        let text = response == nil ? "closed the connection during the TLS handshake" : "does not speak TLS"
        #expect(failure.detail.contains(text), "\(failure)")
    }

    @Test func `to a server without HTTP/2 says so`() async throws {
        var options = ScriptedServer.Options(isSilent: true)
        options.protocols = []
        options.onConnect = { $0.write(raw: Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)) }
        let server = try await ScriptedServer(options) { $0.respond($1, 200) }
        let failure = try await failure(of: Samples.client(port: server.port))
        #expect(failure.failure == .protocolError && failure.cause == .protocolViolation, "\(failure)")
        #expect(failure.detail.contains("offers no HTTP/2"), "\(failure)")
    }

    @Test(arguments: [(407, "requires other credentials"), (403, "does not allow the connection"), (502, "status 502")])
    func `because of the proxy names the proxy and its status`(_ status: Int, _ text: String) async throws {
        let proxy = try await RawServer("HTTP/1.1 \(status) No\r\ncontent-length: 0\r\n\r\n")
        let client = try Samples.client(port: 443, host: "api.example.invalid") {
            $0.proxy = .init(host: "127.0.0.1", port: proxy.port, user: "godwit", password: "flies-far")
        }
        let failure = try await failure(of: client)
        #expect(failure.failure == .proxy && failure.cause == .proxyRefused)
        #expect(failure.detail.hasPrefix("the proxy 127.0.0.1:\(proxy.port) "), "\(failure)")
        #expect(failure.detail.contains(text) && failure.detail.contains("\(status)"), "\(failure)")
        #expect(!failure.detail.contains("flies-far") && !failure.detail.contains("Z29kd2l0"), "\(failure)")
    }

    @Test func `because the proxy is dead is not one of APNs`() async throws {
        let port = try freePort()
        let client = try Samples.client(port: 443, host: "api.example.invalid") {
            $0.proxy = .init(host: "127.0.0.1", port: port)
        }
        let failure = try await failure(of: client)
        #expect(failure.failure == .proxy && failure.cause == .proxyUnreachable)
        #expect(
            failure.detail
                == "the proxy 127.0.0.1:\(port) cannot be reached: connect: ECONNREFUSED (127.0.0.1:\(port))")
    }

    @Test func `because a proxy never responds names the proxy`() async throws {
        let listener = try LoopbackListener()
        let client = try Samples.client(port: 443, host: "api.example.invalid") {
            $0.proxy = .init(host: "127.0.0.1", port: listener.port)
            $0.connectTimeout = .milliseconds(300)
        }
        let failure = try await failure(of: client)
        #expect(failure.failure == .proxy, "\(failure)")
        #expect(failure.detail.hasPrefix("the proxy 127.0.0.1:\(listener.port) "), "\(failure)")
    }
}
