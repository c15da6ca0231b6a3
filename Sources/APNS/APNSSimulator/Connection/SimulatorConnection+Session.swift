import APNSWire
import HTTP2Session

// Events of the HTTP/2 session.
extension SimulatorConnection: HTTP2SessionDelegate {
    /// The tag of a refused stream. All its data is dropped.
    private static let refusedTag = UInt32.max

    func headersBegan(stream: Int32, tag: UInt32) {
        // A tag means that these are trailers of a request.
        guard tag == 0 else { return }
        guard !streams.isFull else { return refuse(stream) }
        streams.opened()
        let slot = freeSlots.popLast() ?? requests.count
        if slot == requests.count { requests.append(IncomingRequest()) }
        requests[slot].begin(stream: stream)
        session.setTag(UInt32(slot + 1), of: stream)
    }

    private func refuse(_ stream: Int32) {
        session.setTag(Self.refusedTag, of: stream)
        refusalsInRead += 1
        if refusalsInRead > Self.refusalsMax { isAborted = true }
        if settings.overLimit == .goAway, streams.isKnownToClient, goAwayLast == nil {
            // The text resembles the one observed in 2016: plain text, not JSON.
            goAway(
                after: max(0, stream - 2), code: .refusedStream,
                debugData: Array("Maximum active streams violated for this endpoint".utf8)
            )
        } else {
            session.reset(stream, code: .refusedStream)
            counters.streamsRefused += 1
        }
    }

    func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        guard tag > 0, tag != Self.refusedTag else { return }
        requests[Int(tag) - 1].header(name, value, &context)
    }

    func headersEnded(stream: Int32, tag: UInt32) {
        if !hasRaisedStreamLimit, context.isAuthenticated {
            hasRaisedStreamLimit = true
            announce(streams: settings.streamsMax)
        }
        guard faultTriggers.contains(.headers), tag > 0, tag != Self.refusedTag else { return }
        applyHeaderFault(Int(tag) - 1)
    }

    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        guard tag > 0, tag != Self.refusedTag else { return }
        requests[Int(tag) - 1].data(bytes, isKept: recordsPushes)
    }

    func messageEnded(stream: Int32, tag: UInt32) {
        guard tag > 0, tag != Self.refusedTag, !isAborted, stream <= goAwayLast ?? .max else { return }
        let slot = Int(tag) - 1
        guard !requests[slot].isHandled else { return }
        requests[slot].end(&context)
        if requests[slot].isChannelRequest {
            respondToChannelRequest(slot)
        } else {
            respondToPush(slot)
        }
    }

    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) {
        guard tag > 0, tag != Self.refusedTag, requests[Int(tag) - 1].stream == stream else { return }
        streams.closed()
        if code == .cancel { counters.cancelled += 1 }
        requests[Int(tag) - 1].free()
        freeSlots.append(Int(tag) - 1)
    }

    func settingsAcknowledged() { streams.acknowledged() }

    func goAwayReceived(_ goAway: HTTP2GoAway) { hasReceivedGoAway = true }
}
