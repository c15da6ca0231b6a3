extension Scenario {
    /// The built-in scenarios: their names, and their files as a base for your own.
    public static let builtInFiles: [(name: String, yaml: String)] = [
        ("calm", calm), ("flaky", flaky), ("maintenance", maintenance), ("bad-key", badKey),
        ("token-churn", tokenChurn), ("slow-far-away", slowFarAway), ("hostile", hostile),
    ]

    /// The built-in scenario with this name; nil if there is none.
    public static func builtIn(_ name: String) -> Scenario? {
        guard let file = builtInFiles.first(where: { $0.name == name }) else { return nil }
        do {
            return try Scenario(yaml: file.yaml)
        } catch {
            preconditionFailure("the built-in scenario \(name): \(error)")
        }
    }

    private static let calm = """
        name: calm
        description: Short round trip, no faults.
        settings:
          latency: 20ms
          jitter: 5ms
        """

    private static let flaky = """
        name: flaky
        description: Some error responses, some missing responses, some closed connections.
        settings:
          latency: 40ms
          jitter: 20ms
          drops_to_one_stream: true
        faults:
          - {action: answer, status: 500, reason: InternalServerError, probability: 0.01, seed: 1}
          - {action: answer, status: 503, reason: ServiceUnavailable, probability: 0.005, seed: 2}
          - {action: stall, probability: 0.001, seed: 3}
          - {action: reset, code: INTERNAL_ERROR, probability: 0.003, seed: 4}
          - {action: reset, code: REFUSED_STREAM, probability: 0.003, seed: 5}
          - {action: close, probability: 0.0005, seed: 6, taken: true}
          - {action: goaway, request_on_connection: {every: 5000}}
        """

    private static let maintenance = """
        name: maintenance
        description: Servers drain one after another, and every minute all are unavailable for ten seconds.
        repeat: 60s
        phases:
          - name: draining
            at: 20s
            for: 10s
            faults:
              - {action: goaway, two_steps: 500ms, request_on_connection: {every: 500}}
          - name: down
            at: 30s
            for: 10s
            settings: {connections_max: 2}
            faults:
              - action: answer
                status: 503
                reason: Shutdown
                then_goaway: true
                request_on_connection: {every: 100}
              - {action: answer, status: 503, reason: ServiceUnavailable, retry_after: 5}
        """

    private static let badKey = """
        name: bad-key
        description: The signing key is revoked after 10 s and valid again after 40 s.
        settings:
          wedges_on_expired_token: true
          drops_to_one_stream: true
        phases:
          - name: revoked
            at: 10s
            for: 30s
            faults:
              - {action: answer, status: 403, reason: InvalidProviderToken}
        """

    private static let tokenChurn = """
        name: token-churn
        description: One token in eight is invalid, for every reason that APNs has.
        settings:
          latency: 20ms
          drops_to_one_stream: true
          error_budget: 2000
        tokens:
          - {pattern: "*0", state: unregistered}
          - {pattern: "*10", state: expired}
          - {pattern: "*01", state: bad}
          - {pattern: "*f1", state: other-topic}
          - {pattern: "*f", state: unregistered}
        """

    private static let slowFarAway = """
        name: slow-far-away
        description: 150 ms round trip, and 400 ms during congestion.
        settings:
          latency: 150ms
          jitter: 40ms
        repeat: 60s
        phases:
          - name: congested
            at: 30s
            for: 20s
            settings: {latency: 400ms, jitter: 200ms}
        """

    private static let hostile = """
        name: hostile
        description: Every fault that a client must handle, most of them concurrently.
        settings:
          latency: 10ms
          jitter: 30ms
          drops_to_one_stream: true
          wedges_on_expired_token: true
          over_limit: goaway
          error_budget: 500
          connection_rate: {count: 50, per: 1s}
          connection_penalty: 1s
          idle_timeout: 20s
          connection_age_max: 30s
          uses_upper_case_ids: true
        faults:
          - {on: connection, action: goaway, last_stream: 0, probability: 0.1, seed: 11}
          - {on: connection, action: tcp-reset, probability: 0.05, seed: 12}
          - {on: connection, action: black-hole, mode: reads-nothing, probability: 0.02, seed: 13}
          - {action: answer, status: 500, body: "<html>", content_type: text/html, probability: 0.01, seed: 14}
          - {action: answer, status: 400, reason: NeverHeardOf, probability: 0.005, seed: 15}
          - {action: answer, status: 503, body_bytes: 1048576, probability: 0.002, seed: 16}
          - {action: answer, status: 429, reason: TooManyRequests, retry_after: 1, probability: 0.005, seed: 17}
          - {action: goaway, twice: true, debug: "not JSON at all", probability: 0.0005, seed: 18}
          - {action: goaway, two_steps: 200ms, probability: 0.0005, seed: 19}
          - {action: goaway, answer_after: 300ms, probability: 0.0005, seed: 20}
          - {action: reset, code: REFUSED_STREAM, probability: 0.01, seed: 21}
          - {action: reset, after_headers: true, probability: 0.005, seed: 22}
          - {action: settings, streams: 20, window: 1024, header_table: 0, probability: 0.0005, seed: 23}
          - {action: settings, streams: 1000, window: 65535, header_table: 4096, probability: 0.001, seed: 24}
          - {action: stall, probability: 0.001, seed: 25}
          - {action: tcp-reset, probability: 0.0005, seed: 26}
          - {action: black-hole, probability: 0.0002, seed: 27}
          - {action: wedge, probability: 0.0002, seed: 28}
          - {action: ignore-pings, probability: 0.0002, seed: 29}
        """
}
