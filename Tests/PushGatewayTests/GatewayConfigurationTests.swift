import APNSWire
import Foundation
import PushAccept
import PushDispatch
import PushGateway
import PushModel
import PushTesting
import Testing

@Suite struct `Configuration file` {
    static let complete = """
        listen: {host: 0.0.0.0, port: 9000}
        store: {path: data}
        apps:
          - name: shop
            bundle_id: com.example.shop
            environment: sandbox
            key: {file: keys/AuthKey.p8, key_id: ABCDE12345, team_id: TEAM123456}
            endpoint: {host: localhost, port: 8443, ca_file: /etc/ca.pem}
          - bundle_id: com.example.news
            key: {file: /keys/other.p8, key_id: ABCDE12345, team_id: TEAM123456}
        delivery: {retry_base: 250ms, retry_cap: 2m, attempts_max: 7, request_timeout: 5s, lifetime: 48h}
        log: {level: debug}
        """

    static func parse(_ text: String) throws -> GatewayConfiguration {
        try GatewayConfiguration.parse(text, file: "godwit.yaml", folder: "/etc/godwit")
    }

    /// The problems of a configuration file.
    static func problems(_ text: String) -> [String] {
        do {
            _ = try parse(text)
            return []
        } catch {
            return (error as? ConfigurationError)?.problems ?? ["\(error)"]
        }
    }

    @Test func `all keys are read, and paths are relative to the folder of the file`() throws {
        let configuration = try Self.parse(Self.complete)
        #expect(configuration.listen.host == "0.0.0.0" && configuration.listen.port == 9000)
        #expect(configuration.storePath == "/etc/godwit/data")
        let shop = try #require(configuration.apps.first)
        #expect(shop.name == "shop" && shop.bundleID == "com.example.shop")
        let shopSettings = try #require(shop.environments.only)
        #expect(shopSettings.environment == .sandbox)
        #expect(
            shopSettings.credential
                == .key(.init(file: "/etc/godwit/keys/AuthKey.p8", keyID: "ABCDE12345", teamID: "TEAM123456"))
        )
        #expect(shopSettings.endpoint == .init(host: "localhost", port: 8443, caFile: "/etc/ca.pem"))
        let news = try #require(configuration.apps.last)
        let newsSettings = try #require(news.environments.only)
        #expect(news.name == "com.example.news" && newsSettings.environment == .production)
        #expect(newsSettings.endpoint == nil && newsSettings.rate == nil)
        #expect(
            newsSettings.credential == .key(.init(file: "/keys/other.p8", keyID: "ABCDE12345", teamID: "TEAM123456"))
        )
        #expect(configuration.delivery.policy.retryBase == .milliseconds(250))
        #expect(configuration.delivery.policy.retryCap == .seconds(120))
        #expect(configuration.delivery.policy.attemptsMax == 7)
        #expect(configuration.delivery.policy.lifetime == .seconds(48 * 3600))
        #expect(configuration.delivery.requestTimeout == .seconds(5))
        #expect(configuration.logLevel == "debug")
    }

    @Test func `limits are read, and 0 removes a limit`() throws {
        let configuration = try Self.parse(
            Self.complete.replacing(
                "lifetime: 48h}",
                with: "lifetime: 48h, immediate_lifetime: 9s, lease: 40s, breaker_open: 2s, retry_budget_burst: 7}")
                    + """

                    limits:
                      push: {rate: 10}
                      batch: {rate: 0}
                      device: {count: 3, per: 60s}
                      idempotent_body_max_mib: 16
                      idempotent_bodies_max_mib: 32
                      connections_max: 900
                      connections_per_client: 90
                      connections_reserve: 9
                      held_max_mib: 77
                      stored_responses_max: 88
                      stored_responses_max_mib: 99
                    admission: {queued_pushes_max: 0, disk_free_min_mib: 1, oldest_due_max: 10m, memory_max_mib: 512}
                    shutdown: {grace: 0s}
                    """
        )
        #expect(configuration.delivery.policy.immediateLifetime == .seconds(9))
        #expect(configuration.limits.push == RateLimit(perSecond: 10, burst: 20))
        #expect(configuration.limits.batch == nil && configuration.limits.status == nil)
        #expect(configuration.limits.device == RateLimit(3, in: .seconds(60)))
        #expect(configuration.idempotentBodyMaxMiB == 16 && configuration.idempotentBodiesMaxMiB == 32)
        #expect(configuration.accept.idempotentBodyBytesMax == 16 << 20)
        #expect(configuration.accept.idempotentBodiesBytesMax == 32 << 20)
        let connections = configuration.accept.connections
        #expect(connections.max == 900 && connections.perClient == 90 && connections.reserve == 9)
        #expect(configuration.accept.heldBytesMax == 77 << 20)
        #expect(configuration.storedResponsesMax == 88 && configuration.storedResponsesMaxMiB == 99)
        #expect(configuration.admission.queuedPushesMax == nil && configuration.admission.bytesFreeMin == 1 << 20)
        #expect(configuration.admission.oldestDueMax == .seconds(600))
        #expect(configuration.admission.memoryBytesMax == 512 << 20)
        #expect(configuration.shutdownGrace == .zero)
        #expect(configuration.delivery.lease == .seconds(40) && configuration.delivery.renewEvery == .seconds(10))
        #expect(configuration.delivery.breaker.openBase == .seconds(2))
        #expect(configuration.delivery.retryBudget.burst == 7)
    }

    @Test func `memory for idempotent bodies is bounded and holds at least one body`() {
        let limits = "\nlimits: {idempotent_body_max_mib: 300, idempotent_bodies_max_mib: 200}\n"
        #expect(
            Self.problems(Self.complete + limits) == [
                "line 13: limits.idempotent_body_max_mib must be 1 to 256",
                "line 13: limits.idempotent_bodies_max_mib must be at least limits.idempotent_body_max_mib, and at most 65536",
            ]
        )
    }

    @Test func `limits of connections and of memory are checked together`() {
        let limits =
            "\nlimits: {connections_max: 5, connections_per_client: 0, connections_reserve: 7, held_max_mib: 1, stored_responses_max: 0, stored_responses_max_mib: 0}\n"
        #expect(
            Self.problems(Self.complete + limits) == [
                "line 13: limits.held_max_mib must be 16 to 65536",
                "line 13: limits.stored_responses_max must be 1 to 100000000",
                "line 13: limits.stored_responses_max_mib must be 1 to 1048576",
                "line 13: limits.connections_max must be 10 to 1000000",
                "line 13: limits.connections_reserve must be at least 1 and below limits.connections_max",
                "line 13: limits.connections_per_client must be at least 1",
            ]
        )
    }

    @Test func `missing limits have their defaults`() throws {
        let configuration = try Self.parse(Self.complete)
        #expect(configuration.limits.batch == RateLimit(perSecond: 50, burst: 100) && configuration.limits.push == nil)
        #expect(
            configuration.admission.queuedPushesMax == 5_000_000 && configuration.admission.bytesFreeMin == 256 << 20)
        #expect(configuration.idempotentBodyMaxMiB == 8 && configuration.idempotentBodiesMaxMiB == 64)
        #expect(configuration.retention == .seconds(7 * 86_400) && configuration.shutdownGrace == .seconds(5))
        #expect(configuration.drainTimeout == .seconds(10))
    }

    @Test func `an app can have a certificate instead of a key, and connections can use a proxy`() throws {
        let configuration = try Self.parse(
            """
            apps:
              - bundle_id: com.example.one
                certificate: {p12_file: one.p12, password_file: one.password}
              - bundle_id: com.example.two
                certificate: {file: /two.pem, key_file: two.key}
            apns:
              connections_max: 8
              proxy: {host: proxy.example.com, port: 8080, user: godwit, password_file: proxy.password}
            """
        )
        var one = GatewayConfiguration.Certificate()
        one.p12File = "/etc/godwit/one.p12"
        one.passwordFile = "/etc/godwit/one.password"
        var two = GatewayConfiguration.Certificate()
        two.certificateFile = "/two.pem"
        two.keyFile = "/etc/godwit/two.key"
        #expect(
            configuration.apps.flatMap { $0.environments.map(\.credential) } == [.certificate(one), .certificate(two)])
        #expect(configuration.connectionsMax == 8)
        #expect(
            configuration.proxy
                == .init(
                    host: "proxy.example.com", port: 8080, user: "godwit", passwordFile: "/etc/godwit/proxy.password"
                )
        )
    }

    @Test func `an app must have exactly one complete credential`() {
        func app(_ lines: String) -> String { "apps: [{bundle_id: com.example.one, \(lines)}]" }
        #expect(Self.problems(app("environment: sandbox")) == ["line 1: apps[0].key or apps[0].certificate is missing"])
        #expect(
            Self.problems(app("key: {file: a, key_id: ABCDE12345, team_id: TEAM123456}, certificate: {p12_file: a}"))
                == ["line 1: only one of apps[0].key or apps[0].certificate is allowed"]
        )
        for half in ["file: a", "key_file: b", "file: a, key_file: b, p12_file: c", "password_file: d"] {
            #expect(
                Self.problems(app("certificate: {\(half)}"))
                    == ["line 1: app \"com.example.one\": certificate needs p12_file, or file and key_file"]
            )
        }
    }

    private static let key = GatewayConfiguration.Credential.key(
        .init(file: "/k.p8", keyID: "ABCDE12345", teamID: "TEAM123456"))
    private static let sandboxKey = GatewayConfiguration.Credential.key(
        .init(file: "/s.p8", keyID: "SANDB12345", teamID: "TEAM123456"))

    private static func environments(_ lines: String) throws -> [GatewayConfiguration.EnvironmentSettings] {
        try parse("apps:\n  - bundle_id: com.example.one\n" + lines).apps[0].environments
    }

    @Test func `an app has the environments of the file, the default one first`() throws {
        let key = "    key: {file: /k.p8, key_id: ABCDE12345, team_id: TEAM123456}\n"
        let sandboxKey = "key: {file: /s.p8, key_id: SANDB12345, team_id: TEAM123456}"
        #expect(try Self.environments(key) == [.init(.production, credential: Self.key)])
        #expect(try Self.environments(key + "    environment: sandbox\n") == [.init(.sandbox, credential: Self.key)])
        // With the credential and the rate of the app.
        #expect(
            try Self.environments(key + "    rate: 5\n    environments:\n      sandbox:\n") == [
                .init(.production, credential: Self.key, rate: 5), .init(.sandbox, credential: Self.key, rate: 5),
            ])
        #expect(
            try Self.environments(key + "    environment: sandbox\n    environments: {production: {}}\n") == [
                .init(.sandbox, credential: Self.key), .init(.production, credential: Self.key),
            ])
        // With its own.
        let own = "{\(sandboxKey), rate: 7, endpoint: {host: localhost}}"
        #expect(
            try Self.environments(key + "    endpoint: {host: a, port: 1}\n    environments: {sandbox: \(own)}\n") == [
                .init(.production, credential: Self.key, endpoint: .init(host: "a", port: 1)),
                .init(.sandbox, credential: Self.sandboxKey, endpoint: .init(host: "localhost", port: 443), rate: 7),
            ])
        // Each with its own.
        #expect(
            try Self.environments(
                "    environments:\n      sandbox: {\(sandboxKey)}\n      production:\n    " + key
            ) == [.init(.production, credential: Self.key), .init(.sandbox, credential: Self.sandboxKey)])
    }

    @Test func `each environment of an app needs a credential and a host of its own`() {
        let key = "key: {file: k, key_id: ABCDE12345, team_id: TEAM123456}"
        func problems(_ lines: String) -> [String] { Self.problems("apps: [{bundle_id: com.example.one, \(lines)}]") }
        #expect(
            problems("environments: {sandbox: {\(key)}}") == [
                "line 1: apps[0].key or apps[0].certificate is missing, because production has none of its own"
            ])
        #expect(
            problems("\(key), endpoint: {host: a}, environments: {sandbox: {}}") == [
                "line 1: apps[0].environments.sandbox.endpoint is missing, because the app's endpoint is for production only"
            ])
        #expect(
            problems("\(key), environments: {staging: {}}") == [
                "line 1: apps[0].environments.staging is not a known key"
            ])
        #expect(
            problems("\(key), rate: 0, environments: {sandbox: {}}") == [
                "line 1: app \"com.example.one\": rate must be 1 to 1000000 pushes per second"
            ])
        #expect(
            problems("\(key), environments: {sandbox: {rate: 0}}") == [
                "line 1: app \"com.example.one\": environments.sandbox: rate must be 1 to 1000000 pushes per second"
            ])
    }

    @Test func `a key of an earlier version is reported with its present name`() {
        #expect(
            Self.problems(Self.complete + "\nlimits: {keyed_body_max_mib: 8, keyed_bodies_max_mib: 64}") == [
                "line 13: limits.keyed_body_max_mib is not a known key; it is limits.idempotent_body_max_mib now",
                "line 13: limits.keyed_bodies_max_mib is not a known key; it is limits.idempotent_bodies_max_mib now",
            ])
        #expect(
            Self.problems(Self.complete.replacing("lifetime: 48h", with: "lifetime: 48h, breaker_slow_after: 5s")) == [
                "line 11: delivery.breaker_slow_after is not a known key; a slow answer no longer opens a circuit breaker"
            ])
    }

    @Test func `an unknown key is reported with its line`() {
        #expect(Self.problems(Self.complete.replacing("log:", with: "lgo:")) == ["line 12: lgo is not a known key"])
        #expect(
            Self.problems(Self.complete.replacing("environment:", with: "enviroment:"))
                == ["line 6: apps[0].enviroment is not a known key"]
        )
    }

    @Test func `all problems are reported together`() {
        let problems = Self.problems(
            """
            listen: {port: many}
            stor: {}
            shutdown: {grace: 1h}
            apps:
              - name: x
                key: {file: a, key_id: 1, team_id: TEAM123456}
              - bundle_id: com.example.y
                nam: y
                key: {file: a, key_id: 1, team_id: TEAM123456}
            delivery: {retry_base: soon, attempts_max: 0}
            log: {level: loud}
            """
        )
        // In the order of the file. Further problems of an app without a bundle ID, or of an unreadable delivery
        // section, are not reported.
        #expect(
            problems == [
                "line 1: listen.port must be a whole number", "line 2: stor is not a known key",
                "line 3: shutdown.grace must be at most 5m", "line 5: apps[0].bundle_id is missing",
                "line 7: app \"com.example.y\": key.key_id must have 10 characters",
                "line 8: apps[1].nam is not a known key",
                "line 10: delivery.retry_base must be a duration such as 500ms, 10s, 5m, 24h or 7d",
                "line 11: log.level must be one of trace, debug, info, notice, warning, error, critical",
            ]
        )
    }

    @Test(arguments: [
        ("", "apps must have at least one app"),
        ("[1, 2]", "line 1: the file must be a mapping of keys to values"),
        ("apps: 3", "line 1: apps must be a list"),
        ("apps: [3]", "line 1: apps[0] must be a mapping of keys to values"),
    ])
    func `a file with the wrong structure is one problem`(_ text: String, _ problem: String) {
        #expect(Self.problems(text) == [problem])
    }

    @Test(arguments: [
        "listen: {port: 1", "apns:\n  proxy:\n    password hunter2\n    user: x", "a: 'hunter2", "a: 1\na: hunter2",
        "hunter2: [", "a: \thunter2: b: c", "a: *hunter2",
    ])
    func `text that is not YAML is reported with its line, and not quoted`(_ text: String) throws {
        let problem = try #require(Self.problems(text).first)
        #expect(problem.hasPrefix("not YAML: line ") && !problem.contains("hunter2"), "\(problem)")
    }

    @Test func `a byte order mark before the configuration is skipped`() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("\u{FEFF}" + Self.complete, to: "godwit.yaml")
        #expect(try GatewayConfiguration.read(path: file).listen.port == 9000)
    }

    @Test func `a path that begins with ~ is in a home folder, or refused`() throws {
        let home = ProcessInfo.processInfo.environment["HOME"] ?? ("~" as NSString).expandingTildeInPath
        let expanded = try Self.parse(
            Self.complete.replacing("path: data", with: "path: ~/data").replacing("keys/Auth", with: "~/Auth"))
        #expect(expanded.storePath == "\(home)/data")
        let key = GatewayConfiguration.Key(file: "\(home)/AuthKey.p8", keyID: "ABCDE12345", teamID: "TEAM123456")
        #expect(expanded.apps.first?.environments.first?.credential == .key(key))
        let text = "must not start with '~', which stands for no home folder here"
        #expect(
            Self.problems(Self.complete.replacing("path: data", with: "path: ~nosuchuser/data"))
                == ["line 2: store.path \(text)"])
        #expect(
            Self.problems(Self.complete.replacing("/etc/ca.pem", with: "~nosuchuser/ca.pem"))
                == ["line 4: app \"shop\": a path \(text)"])
    }

    @Test(arguments: [
        ("port: 9000", "port: 70000", "listen.port must be 0 to 65535"),
        (
            "bundle_id: com.example.news", "bundle_id: com example",
            "app \"com example\": bundle_id must be 1 to 155 letters, digits, hyphens and periods"
        ),
        ("name: shop", "name: com.example.news", "app \"com.example.news\" is defined twice"),
        (
            "level: debug", "level: loud",
            "log.level must be one of trace, debug, info, notice, warning, error, critical"
        ),
        (
            "request_timeout: 5s", "request_timeout: 1h",
            "delivery: request_timeout (3600.0 seconds) must be below 15.0 seconds, three quarters of lease (20.0 seconds)"
        ),
        ("attempts_max: 7", "attempts_max: 0", "delivery: attempts_max must be at least 1"),
    ])
    func `values out of range are refused`(_ good: String, _ bad: String, _ problem: String) {
        let text = Self.complete.replacing(good, with: bad)
        let found = Self.problems(text)
        // The line of the value, its app or its section.
        #expect(found.map { $0.split(separator: ": ", maxSplits: 1).last.map(String.init) } == [problem])
        #expect(found.allSatisfy { $0.hasPrefix("line ") }, "\(found)")
    }

    @Test(arguments: [
        ("/nowhere/godwit.yaml", "no such file"), ("/", "it is a folder"),
        ("/bin/true", "it is not UTF-8 text"), ("/proc/self/exe", "it has more than 4 MiB"),
    ])
    func `a file that cannot be read is reported`(_ path: String, _ why: String) {
        let error = #expect(throws: ConfigurationError.self) { try GatewayConfiguration.read(path: path) }
        #expect(error?.problems == ["the file cannot be read: \(why)"])
    }
}

extension Array {
    /// The element of an array of one.
    fileprivate var only: Element? { count == 1 ? first : nil }
}
