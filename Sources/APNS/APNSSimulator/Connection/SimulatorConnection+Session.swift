import APNSWire
import HTTP2Session

/// What HTTP/2 tells.
extension SimulatorConnection: HTTP2SessionDelegate {
    /// The tag of a stream that was refused: all that belongs to it is dropped.
    private static let refusedTag = UInt32.max

    func headersBegan(stream: Int32, tag: UInt32) {
        // Trailers of a request that is known already.
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
        refusalsInARow += 1
        if refusalsInARow > Self.refusalsMax { isAborted = true }
        if settings.overLimit == .goAway, streams.isKnownToClient, goAwayLast == nil {
            // The words are like those seen in 2016: plain text, not JSON.
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
        if !hasRaisedStreams, context.isAuthenticated {
            hasRaisedStreams = true
            announce(streams: settings.streamsMax)
        }
        guard faultMoments.contains(.headers), tag > 0, tag != Self.refusedTag else { return }
        meetHeaderFault(Int(tag) - 1)
    }

    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        guard tag > 0, tag != Self.refusedTag else { return }
        requests[Int(tag) - 1].data(bytes, isKept: recordsPushes)
    }

    func messageEnded(stream: Int32, tag: UInt32) {
        guard tag > 0, tag != Self.refusedTag, !isAborted, stream <= goAwayLast ?? .max else { return }
        let slot = Int(tag) - 1
        guard !requests[slot].isSettled else { return }
        requests[slot].end(&context)
        if requests[slot].isAboutChannel {
            judgeChannelRequest(slot)
        } else {
            judge(slot)
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

    func goAwayReceived(_ goAway: HTTP2GoAway) { clientSaidGoAway = true }
}
