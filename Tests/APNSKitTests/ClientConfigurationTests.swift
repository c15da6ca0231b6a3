import APNSKit
import NIOPosix
import Testing

@Suite struct `Client configuration` {
    @Test func `all problems are reported together`() {
        var configuration = APNSClientConfiguration(endpoint: .init(host: "", port: 0))
        configuration.connectTimeout = .zero
        configuration.pingInterval = .seconds(-1)
        configuration.streamsPerConnectionMax = 1001
        configuration.queuedPushesMax = 0
        configuration.connectionsMax = 0
        configuration.stallTimeout = .zero
        configuration.proxy = .init(host: "a b", port: 70_000)
        configuration.trustRoots = .pem("no certificate")
        #expect(configuration.problems().count == 11)
        do throws(APNSConfigurationError) {
            _ = try APNSClient(configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)
            Issue.record("an invalid configuration was accepted")
        } catch {
            #expect(error.problems == configuration.problems())
        }
    }

    @Test func `Apple's endpoints are valid`() {
        #expect(APNSClientConfiguration(endpoint: .production).problems().isEmpty)
        #expect(APNSClientConfiguration(endpoint: .sandbox).problems().isEmpty)
    }

    @Test func `a trust roots file must exist and contain certificates`() {
        var configuration = APNSClientConfiguration(endpoint: .sandbox)
        configuration.trustRoots = .file(TestCertificate.server.certificatePath)
        #expect(configuration.problems().isEmpty)
        configuration.trustRoots = .file("/no/such/file.pem")
        #expect(configuration.problems().count == 1)
        configuration.trustRoots = .file(TestCertificate.server.keyPath)
        #expect(configuration.problems().count == 1)
    }
}
