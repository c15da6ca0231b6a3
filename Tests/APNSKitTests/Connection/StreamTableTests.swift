import APNSKit
import APNSWire
import HTTP2Session
import NIOCore
import Testing

/// The rules for pushes without a complete answer. They decide whether a push can be delivered twice.
@Suite struct `Stream table` {
    private final class IgnoringReceiver: APNSAnswerReceiver {
        func receive(_ answers: APNSAnswers) {}
    }

    private let batch = InFlightBatch(
        Samples.batch(10), indexes: nil, ticket: 0, serial: 1, waitUntil: .uptimeNanoseconds(700),
        answerTimeout: .nanoseconds(1_000),
        receiver: IgnoringReceiver()
    )

    @Test func `the unique ID of an answer is kept until its stream is closed`() {
        var table = table(streams: 1)
        for (text, kept) in [
            ("", nil), ("a b", nil), ("caf\u{e9}", nil), (String(repeating: "x", count: 65), nil), ("5F1C-x", "5F1C-x"),
        ] as [(String, String?)] {
            Array(text.utf8).withUnsafeBytes { table.uniqueIDReceived($0, 0) }
            #expect(table.slots[0].uniqueID == kept)
        }
        table.settle(0)
        table.close(0)
        #expect(table.slots[0].uniqueID == nil)
    }

    private func table(streams count: Int, requiresAPNSID: Bool = false) -> StreamTable {
        var table = StreamTable(requiresAPNSID: requiresAPNSID)
        for index in 0..<count {
            let tag = table.open(batch, UInt16(index), now: .uptimeNanoseconds(0))
            table.submitted(tag, as: Int32(index * 2 + 1))
        }
        return table
    }

    private func connection(goAwayLast: Int32? = nil, _ debugData: String = "") -> ConnectionStateMachine {
        var connection = ConnectionStateMachine()
        guard let goAwayLast else { return connection }
        _ = connection.goAwayReceived(
            HTTP2GoAway(lastStream: goAwayLast, code: .noError, debugData: Array(debugData.utf8)))
        return connection
    }

    private func lost(_ stream: StreamTable.Stream, goAwayLast: Int32? = nil) -> StreamTable.Resolution {
        StreamTable.resolution(
            of: stream,
            unanswered: connection(goAwayLast: goAwayLast).answerForLostStream(
                stream.id, isSent: stream.state == .sent, failure: .connectionReset)
        )
    }

    private func closed(
        _ stream: StreamTable.Stream, isRefused: Bool, _ connection: ConnectionStateMachine? = nil
    ) -> StreamTable.Resolution {
        StreamTable.resolution(
            of: stream,
            unanswered: (connection ?? self.connection()).answerForClosedStream(
                stream.id, isSent: stream.state == .sent, isRefused: isRefused)
        )
    }

    @Test func `a lost connection makes complete requests ambiguous and requeues others`() {
        var table = table(streams: 2)
        table.sent(1, now: .uptimeNanoseconds(0))
        #expect(lost(table.slots[0]) == .requeue(.failed(.connectionReset, .neverWritten)))
        #expect(lost(table.slots[1]) == .settle(.failed(.connectionReset, .ambiguous)))
        #expect(lost(table.slots[1], goAwayLast: 3) == .settle(.failed(.connectionReset, .ambiguous)))
        #expect(lost(table.slots[1], goAwayLast: 1) == .requeue(.failed(.connectionReset, .refused)))
        table.settle(1)
        #expect(lost(table.slots[1]) == .nothing)
    }

    @Test func `a received status takes precedence over a missing rest`() {
        var table = table(streams: 2)
        for tag in 0..<2 { table.sent(UInt32(tag), now: .uptimeNanoseconds(0)) }
        table.statusReceived(200, 0)
        table.statusReceived(400, 1)
        Array(#"{"reason":"BadDev"#.utf8).withUnsafeBytes { _ = table.bodyReceived($0, 1) }
        let rejected = APNSAnswer(disposition: .answered, status: 400)
        #expect(lost(table.slots[0], goAwayLast: 0) == .settle(.accepted))
        #expect(lost(table.slots[1]) == .settle(rejected))
        #expect(closed(table.slots[0], isRefused: true) == .settle(.accepted))
        #expect(closed(table.slots[1], isRefused: false, connection(goAwayLast: 0)) == .settle(rejected))
    }

    /// The simulator's fault `reset` with `after_headers` does that.
    @Test func `the start of an answer that could be foreign leaves the push unanswered`() {
        var table = table(streams: 2, requiresAPNSID: true)
        for tag in 0..<2 {
            table.sent(UInt32(tag), now: .uptimeNanoseconds(0))
            table.statusReceived(200, UInt32(tag))
        }
        table.answerCompleted(1)
        #expect(closed(table.slots[0], isRefused: false) == .settle(.failed(.streamReset, .ambiguous)))
        #expect(closed(table.slots[0], isRefused: true) == .settle(.failed(.streamRefused, .ambiguous)))
        let foreign = APNSAnswer(disposition: .answered, status: 200, failure: .notAPNs)
        #expect(closed(table.slots[1], isRefused: false) == .settle(foreign))
    }

    @Test func `a request that is reset before it is complete is requeued`() {
        let table = table(streams: 1)
        #expect(
            closed(table.slots[0], isRefused: false)
                == .requeue(.failed(.streamReset, .neverWritten))
        )
    }

    @Test func `refused streams and streams above GOAWAY's last ID are requeued`() {
        var table = table(streams: 3)
        for tag in 0..<3 { table.sent(UInt32(tag), now: .uptimeNanoseconds(0)) }
        let connection = connection(goAwayLast: 3, #"{"reason":"Shutdown"}"#)
        func resolution(_ tag: Int, isRefused: Bool) -> StreamTable.Resolution {
            closed(table.slots[tag], isRefused: isRefused, connection)
        }
        #expect(resolution(1, isRefused: false) == .settle(.failed(.streamReset, .ambiguous)))
        #expect(resolution(1, isRefused: true) == .requeue(.failed(.streamRefused, .refused)))
        let above = APNSAnswer(disposition: .refused, reason: .shutdown, failure: .goAway)
        #expect(resolution(2, isRefused: true) == .requeue(above))
        #expect(
            closed(table.slots[0], isRefused: true)
                == .requeue(.failed(.streamRefused, .refused))
        )
    }

    @Test func `an answer is read once, with all its parts`() throws {
        var table = table(streams: 1)
        table.sent(0, now: .uptimeNanoseconds(0))
        table.statusReceived(429, 0)
        table.retryAfterReceived(30, 0)
        Array(#"{"reason":"Too"#.utf8).withUnsafeBytes { _ = table.bodyReceived($0, 0) }
        Array(#"ManyRequests"}"#.utf8).withUnsafeBytes { _ = table.bodyReceived($0, 0) }
        let (answer, unknown) = try #require(table.answer(for: 0))
        #expect(
            answer == APNSAnswer(disposition: .answered, status: 429, reason: .tooManyRequests, retryAfterSeconds: 30))
        #expect(unknown == nil)
        table.settle(0)
        #expect(table.answer(for: 0) == nil)
        table.close(0)
        #expect(table.openCount == 0)
        // The slot is reused, and contains nothing of the previous answer.
        #expect(table.open(batch, 4, now: .uptimeNanoseconds(0)) == 0)
        table.sent(0, now: .uptimeNanoseconds(0))
        table.statusReceived(500, 0)
        #expect(table.answer(for: 0)?.0 == APNSAnswer(disposition: .answered, status: 500))
    }

    @Test func `streams whose request is not complete are counted`() {
        var table = table(streams: 4)
        #expect(table.unsentCount == 4)
        table.sent(0, now: .uptimeNanoseconds(0))
        table.sent(0, now: .uptimeNanoseconds(0))
        #expect(table.unsentCount == 3)
        table.settle(1)
        table.cancel(2)
        #expect(table.unsentCount == 1)
        table.awaitResetAck(2)
        for tag in 0..<4 where tag != 2 { table.close(UInt32(tag)) }
        #expect(table.unsentCount == 0 && table.openCount == 1)
    }

    @Test func `the time for the answer begins when the request is completely written`() {
        var table = table(streams: 1)
        #expect(table.slots[0].timeout == .uptimeNanoseconds(700), "the wait ends at a fixed time")
        table.sent(0, now: .uptimeNanoseconds(600))
        #expect(
            table.slots[0].timeout == .uptimeNanoseconds(1_600), "a push that waited has all the time for its answer")
        table.close(0)
        #expect(table.slots[0].timeout == nil)
        _ = table.open(batch, 0, now: .uptimeNanoseconds(650))
        table.sent(0, now: .uptimeNanoseconds(650))
        #expect(table.slots[0].timeout == .uptimeNanoseconds(1_650), "a push that is sent again has the time again")
    }

    @Test func `interim responses are not answers`() {
        var table = table(streams: 1)
        table.sent(0, now: .uptimeNanoseconds(0))
        #expect(table.answer(for: 0) == nil)
        table.statusReceived(103, 0)
        #expect(table.answer(for: 0) == nil)
        table.statusReceived(200, 0)
        #expect(table.answer(for: 0)?.0 == .accepted)
    }

    @Test func `an oversized body costs bounded memory and keeps the status`() {
        var table = table(streams: 1)
        table.sent(0, now: .uptimeNanoseconds(0))
        table.statusReceived(502, 0)
        let chunk = [UInt8](repeating: 0x20, count: 3000)
        for round in 0..<1000 {
            let isTooLong = chunk.withUnsafeBytes { table.bodyReceived($0, 0) }
            #expect(isTooLong == (round > 0))
        }
        #expect(table.slots[0].body.count == ErrorBody.bytesMax + 1)
        #expect(table.answer(for: 0)?.0 == APNSAnswer(disposition: .answered, status: 502))
    }

    @Test func `a stream that we reset keeps its slot until a later PING is acknowledged`() {
        var table = table(streams: 3)
        table.awaitResetAck(0)
        #expect(table.openCount == 3)
        #expect(table.needsPing)
        table.pingSent()
        #expect(!table.needsPing)
        table.awaitResetAck(1)
        #expect(table.needsPing)
        // That PING was sent before the second reset.
        table.pingAcknowledged()
        #expect(table.openCount == 2)
        #expect(table.needsPing)
        table.pingSent()
        table.pingAcknowledged()
        #expect(table.openCount == 1)
        #expect(!table.needsPing)
    }
}
