import APNSWire
import HTTP2Session
import NIOCore

// Injected faults.
extension SimulatorConnection {
    // MARK: Connections and headers

    func applyConnectionFault(_ context: ChannelHandlerContext) {
        faultTriggers = state.faultTriggers
        guard faultTriggers.contains(.connection),
            let fault = state.evaluateFaults(FaultCandidate(trigger: .connection, connection: number))
        else { return }
        counters.faultsByKind[fault.kind.name, default: 0] += 1
        if fault.delay == .zero {
            perform(fault)
            if isAborted { flush(context) }
        } else {
            schedule(at: .now() + TimeAmount(fault.delay)) { $0.perform(fault) }
        }
    }

    private func perform(_ fault: Fault) {
        switch fault.kind {
        case .close: isAborted = true
        case .tcpReset: (isAborted, isReset) = (true, true)
        case .blackHole(let kind): enterBlackHole(kind)
        case .ignorePings: ignoresPings = true
        case .wedge(let response): wedgeResponse = response.simulatedResponse
        case .goAway(let last, let code, let debugData):
            sendGoAwayBeforeSettings(last, code.http2, debugData)
        case .goAwayTwice(let last, let code, let debugData):
            sendGoAwayBeforeSettings(last, code.http2, debugData)
            sendGoAwayBeforeSettings(last, code.http2, debugData)
        case .accept, .answer, .answerAndGoAway, .stall, .reset, .resetAfterHeaders, .goAwayInTwoSteps,
            .goAwayBeforeAnswer, .settings:
            preconditionFailure("\(fault.kind.name) is not possible when a client connects")
        }
    }

    /// Sends GOAWAY before the first SETTINGS, then ends the connection.
    private func sendGoAwayBeforeSettings(_ last: Int32?, _ code: HTTP2ErrorCode, _ debugData: [UInt8]) {
        rawFrames += Self.goAwayFrame(last: last ?? 0, code: code, debugData: debugData)
        counters.goAwaysSent += 1
        goAwayLast = last ?? 0
        isClosing = true
        endsAfterWriting = true
    }

    func applyHeaderFault(_ slot: Int) {
        guard !requests[slot].hasHeaders else { return }
        requests[slot].hasHeaders = true
        guard let fault = state.evaluateFaults(candidate(slot, .headers)) else { return }
        if requests[slot].id == nil { requests[slot].id = .random() }
        inject(fault, slot)
    }

    // MARK: Pushes

    func inject(_ fault: Fault, _ slot: Int) {
        let stream = requests[slot].stream
        requests[slot].isHandled = true
        counters.faultsByKind[fault.kind.name, default: 0] += 1
        switch fault.kind {
        case .answer(let response), .answerAndGoAway(let response, _, _), .wedge(let response):
            recordResponse(slot, response.simulatedResponse, isTaken: fault.isTaken)
        case .goAway(let last?, _, _), .goAwayTwice(let last?, _, _):
            recordResponse(slot, stream <= last ? .accepted : nil, isTaken: stream <= last)
        case .goAway(nil, _, _), .goAwayTwice(nil, _, _):
            recordResponse(slot, fault.isTaken ? .accepted : nil, isTaken: fault.isTaken)
        case .stall, .reset, .resetAfterHeaders, .close, .tcpReset, .blackHole:
            recordResponse(slot, nil, isTaken: fault.isTaken)
        case .accept, .goAwayInTwoSteps, .goAwayBeforeAnswer, .settings, .ignorePings:
            recordResponse(slot, .accepted, isTaken: true)
        }
        if fault.delay == .zero {
            perform(fault, slot, stream)
        } else {
            schedule(at: .now() + TimeAmount(fault.delay)) { $0.perform(fault, slot, stream) }
        }
    }

    private func perform(_ fault: Fault, _ slot: Int, _ stream: Int32) {
        guard requests[slot].stream == stream else { return }
        switch fault.kind {
        case .accept: respond(slot, stream, .accepted)
        case .answer(let response): respond(slot, stream, response.simulatedResponse)
        case .wedge(let response):
            wedgeResponse = response.simulatedResponse
            respond(slot, stream, response.simulatedResponse)
        case .stall: break
        case .reset(let code): reset(stream, code.http2)
        case .resetAfterHeaders(let code):
            // HPACK: 0x88 is `:status: 200` in the static table, so both dynamic tables stay in sync.
            rawFrames += Self.frame(type: 1, flags: 4, stream: stream, [0x88])
            reset(stream, code.http2)
        case .close: isAborted = true
        case .tcpReset: (isAborted, isReset) = (true, true)
        case .settings(let new):
            announce(streams: new.streamsMax, window: new.initialWindowBytes, headerTable: new.headerTableBytes)
            respond(slot, stream, .accepted)
        case .blackHole(let kind): enterBlackHole(kind)
        case .ignorePings:
            ignoresPings = true
            respond(slot, stream, .accepted)
        case .answerAndGoAway, .goAway, .goAwayTwice, .goAwayInTwoSteps, .goAwayBeforeAnswer:
            performGoAway(fault, slot, stream)
        }
    }

    private func performGoAway(_ fault: Fault, _ slot: Int, _ stream: Int32) {
        switch fault.kind {
        case .answerAndGoAway(let response, let code, let debugData):
            respond(slot, stream, response.simulatedResponse)
            goAway(after: stream, code: code.http2, debugData: debugData)
        case .goAway(let last, let code, let debugData), .goAwayTwice(let last, let code, let debugData):
            let last = last ?? (fault.isTaken ? stream : max(0, stream - 2))
            if stream <= last { respond(slot, stream, .accepted) }
            goAway(after: last, code: code.http2, debugData: debugData)
            if case .goAwayTwice = fault.kind { goAway(after: last, code: code.http2, debugData: debugData) }
        case .goAwayInTwoSteps(let interval, let code, let debugData):
            // Not sent through libnghttp2, which would accept no new streams after it.
            rawFrames += Self.goAwayFrame(last: .max, code: .noError, debugData: [])
            counters.goAwaysSent += 1
            respond(slot, stream, .accepted)
            schedule(at: .now() + TimeAmount(interval)) { connection in
                connection.goAway(after: connection.session.lastProcessedStream, code: code.http2, debugData: debugData)
            }
        case .goAwayBeforeAnswer(let delay, let code, let debugData):
            goAway(after: stream, code: code.http2, debugData: debugData)
            schedule(at: .now() + TimeAmount(delay)) { $0.respond(slot, stream, .accepted) }
        default: preconditionFailure("no GOAWAY")
        }
    }

    private func reset(_ stream: Int32, _ code: HTTP2ErrorCode) {
        session.reset(stream, code: code)
        counters.streamsReset += 1
    }

    private func enterBlackHole(_ kind: Fault.BlackHole) {
        switch kind {
        case .answersNothing: suppressesOutput = true
        case .readsNothing: stopReading()
        }
    }

    // MARK: Frames

    private static func goAwayFrame(last: Int32, code: HTTP2ErrorCode, debugData: [UInt8]) -> [UInt8] {
        frame(type: 7, flags: 0, stream: 0, bigEndian(UInt32(last)) + bigEndian(code.rawValue) + debugData)
    }

    /// RFC 9113, section 4.1.
    private static func frame(type: UInt8, flags: UInt8, stream: Int32, _ payload: [UInt8]) -> [UInt8] {
        bigEndian(UInt32(payload.count)).dropFirst() + [type, flags] + bigEndian(UInt32(stream)) + payload
    }

    private static func bigEndian(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }
}
