import APNSWire
import HTTP2Session
import NIOCore
import NIOSSL

// The behaviour of the connection as a whole: stream limit, error budget, timeouts, client certificate.
extension SimulatorConnection {
    // MARK: Streams

    /// Announces new SETTINGS on the open connection; nil leaves a value unchanged.
    func announce(streams limit: UInt32? = nil, window: UInt32? = nil, headerTable: UInt32? = nil) {
        if let limit {
            streams.announce(limit)
            counters.streamLimitChanges += 1
        }
        streams.submitted()
        session.submitSettings(
            HTTP2Settings(
                streamsMax: limit.map { _ in StreamLimit.unlimited }, initialWindowBytes: window,
                headerTableBytes: headerTable
            )
        )
    }

    /// Applies the effects of a response on the connection: stream limit, wedging, error budget.
    func applyEffects(of response: SimulatedResponse, on stream: Int32) {
        if response.status == 200 {
            if hasLoweredStreamLimit {
                hasLoweredStreamLimit = false
                announce(streams: settings.streamsMax)
            }
            return
        }
        if settings.wedgesOnExpiredToken, wedgeResponse == nil, response.reason == "ExpiredProviderToken" {
            wedgeResponse = .refused(.internalServerError)
            lowerStreamLimit()
            refuseIncompleteStreams()
        } else if settings.dropsToOneStream, response.status != 410 {
            lowerStreamLimit()
        }
        chargeErrorBudget(response, stream)
    }

    private func lowerStreamLimit() {
        guard !hasLoweredStreamLimit, hasRaisedStreamLimit else { return }
        hasLoweredStreamLimit = true
        announce(streams: 1)
    }

    /// Refuses incomplete requests without processing them; the client may retry them on another connection.
    private func refuseIncompleteStreams() {
        for slot in requests.indices where requests[slot].stream != 0 && !requests[slot].isHandled {
            requests[slot].isHandled = true
            session.reset(requests[slot].stream, code: .refusedStream)
            counters.streamsRefused += 1
        }
    }

    private func chargeErrorBudget(_ response: SimulatedResponse, _ stream: Int32) {
        guard let budget = settings.errorBudget, response.status != 410, goAwayLast == nil else { return }
        errorsCharged += response.reason == "BadDeviceToken" ? settings.badTokenWeight : 1
        if errorsCharged >= budget { goAway(after: stream) }
    }

    // MARK: Shutdown

    /// Sends GOAWAY: streams above `last` are not processed. The connection ends after the responses to the others.
    func goAway(after last: Int32, code: HTTP2ErrorCode = .noError, debugData: [UInt8] = []) {
        session.submitGoAway(lastStream: last, code: code, debugData: debugData)
        goAwayLast = min(last, goAwayLast ?? .max)
        isClosing = true
        counters.goAwaysSent += 1
    }

    /// Schedules the end of the connection by age or idle time.
    func scheduleTimeouts() {
        if let age = settings.connectionAgeMax {
            schedule(at: .now() + TimeAmount(age)) { connection in
                guard connection.settings.connectionAgeMax == age, connection.goAwayLast == nil else { return }
                connection.goAway(after: connection.session.lastProcessedStream)
            }
        }
        if let idle = settings.idleTimeout { scheduleIdleTimeout(idle) }
    }

    private func scheduleIdleTimeout(_ timeout: Duration) {
        let due = lastArrival + TimeAmount(timeout)
        schedule(at: due) { connection in
            guard connection.settings.idleTimeout == timeout, connection.goAwayLast == nil else { return }
            if connection.lastArrival + TimeAmount(timeout) <= .now(), connection.streams.open == 0 {
                connection.goAway(
                    after: connection.session.lastProcessedStream, debugData: Array(#"{"reason":"IdleTimeout"}"#.utf8))
            } else {
                if connection.streams.open > 0 { connection.lastArrival = .now() }
                connection.scheduleIdleTimeout(timeout)
            }
        }
    }

    // MARK: Certificates

    /// Verifies the client certificate. APNs reports an invalid one with GOAWAY, before it processes any request (apns2
    /// issues 93 and 117).
    func authenticate(_ certificate: NIOSSLCertificate, _ authority: SimulatorAuthority) {
        let result = ProviderCertificate.verify(
            certificate, authority: authority, environment: state.configuration.environment,
            now: state.configuration.clock()
        )
        switch result {
        case .success(let certificate):
            context.certificate = certificate
            hasRaisedStreamLimit = true
            streams.beginWith(settings.streamsMax)
        case .failure(let refusal):
            goAway(after: 0, debugData: Array("{\"reason\":\"\(refusal.reason)\"}".utf8))
        }
    }
}
