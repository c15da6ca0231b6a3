import APNSWire
import HTTP2Session
import NIOCore
import NIOSSL

/// How the connection as a whole behaves: its stream limit, its patience, its end.
extension SimulatorConnection {
    // MARK: Streams

    /// Sends SETTINGS in mid-connection.
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

    /// What an answer does to the connection.
    func watch(_ answer: SimulatedResponse, on stream: Int32) {
        if answer.status == 200 {
            if hasDroppedStreams {
                hasDroppedStreams = false
                announce(streams: settings.streamsMax)
            }
            return
        }
        if settings.wedgesOnExpiredToken, wedged == nil, answer.reason == "ExpiredProviderToken" {
            wedged = .refused(.internalServerError)
            dropToOneStream()
            refuseUnfinishedStreams()
        } else if settings.dropsToOneStream, answer.status != 410 {
            dropToOneStream()
        }
        spendBudget(answer, stream)
    }

    private func dropToOneStream() {
        guard !hasDroppedStreams, hasRaisedStreams else { return }
        hasDroppedStreams = true
        announce(streams: 1)
    }

    /// Requests that have not arrived completely are not processed; the client may send them elsewhere.
    private func refuseUnfinishedStreams() {
        for slot in requests.indices where requests[slot].stream != 0 && !requests[slot].isSettled {
            requests[slot].isSettled = true
            session.reset(requests[slot].stream, code: .refusedStream)
            counters.streamsRefused += 1
        }
    }

    private func spendBudget(_ answer: SimulatedResponse, _ stream: Int32) {
        guard let budget = settings.errorBudget, answer.status != 410, goAwayLast == nil else { return }
        errorsEarned += answer.reason == "BadDeviceToken" ? settings.badTokenWeight : 1
        if errorsEarned >= budget { goAway(after: stream) }
    }

    // MARK: Ends

    /// Says that streams above `last` are not processed; the connection ends when the others are answered.
    func goAway(after last: Int32, code: HTTP2ErrorCode = .noError, debugData: [UInt8] = []) {
        session.submitGoAway(lastStream: last, code: code, debugData: debugData)
        goAwayLast = min(last, goAwayLast ?? .max)
        isClosing = true
        counters.goAwaysSent += 1
    }

    /// Sees to the end of a connection that is idle or old.
    func watchTime() {
        if let age = settings.connectionAgeMax {
            afterwards(.now() + TimeAmount(age)) { connection in
                guard connection.settings.connectionAgeMax == age, connection.goAwayLast == nil else { return }
                connection.goAway(after: connection.session.lastProcessedStream)
            }
        }
        if let idle = settings.idleTimeout { watchIdleness(idle) }
    }

    private func watchIdleness(_ timeout: Duration) {
        let due = lastArrival + TimeAmount(timeout)
        afterwards(due) { connection in
            guard connection.settings.idleTimeout == timeout, connection.goAwayLast == nil else { return }
            if connection.lastArrival + TimeAmount(timeout) <= .now(), connection.streams.open == 0 {
                connection.goAway(
                    after: connection.session.lastProcessedStream, debugData: Array(#"{"reason":"IdleTimeout"}"#.utf8))
            } else {
                if connection.streams.open > 0 { connection.lastArrival = .now() }
                connection.watchIdleness(timeout)
            }
        }
    }

    // MARK: Certificates

    /// Faults of a certificate come as GOAWAY, before any request is looked at (apns2 issues 93 and 117).
    func meet(_ certificate: NIOSSLCertificate, _ authority: SimulatorAuthority) {
        let judgement = ProviderCertificate.judge(
            certificate, authority: authority, environment: state.configuration.environment,
            now: state.configuration.clock()
        )
        switch judgement {
        case .success(let certificate):
            context.certificate = certificate
            hasRaisedStreams = true
            streams.beginWith(settings.streamsMax)
        case .failure(let refusal):
            goAway(after: 0, debugData: Array("{\"reason\":\"\(refusal.reason)\"}".utf8))
        }
    }
}
