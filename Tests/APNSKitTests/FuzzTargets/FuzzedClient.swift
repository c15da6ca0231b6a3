import APNSKit
import APNSWire
import HTTP2Session
import NIOCore

/// The client's side of a connection without a socket: a session, its state machine and its stream table, combined as
/// in `APNSConnection`, with checks of all their promises.
final class FuzzedClient {
    private static let pushes = 8
    /// An upper bound of the client's own frames and requests.
    private static let ownBytesMax = 8192

    private let session = HTTP2Session(role: .client, settings: HTTP2Settings(isPushEnabled: false))
    private var streams = StreamTable(requiresAPNSID: false)
    private var machine = ConnectionStateMachine()
    /// How often each push was reported, by index.
    private var reports = [Int](repeating: 0, count: pushes)
    private var violation: FuzzTargets.Violation?

    private let batch: InFlightBatch = {
        var batch = NotificationBatch(firstID: APNSID(high: 1, low: 1))
        let headers = NotificationHeaders(topic: "com.example.app", pushType: .alert)
        for index in 0..<pushes {
            let token = [UInt8](repeating: UInt8(index), count: 32)
            token.withUnsafeBytes { token in
                Array(#"{"aps":{"alert":"hello"}}"#.utf8).withUnsafeBytes {
                    batch.append(token: token, payload: $0, headers: headers)
                }
            }
        }
        return InFlightBatch(
            batch, indexes: nil, ticket: 0, serial: 1, waitUntil: .distantFuture, answerTimeout: .seconds(10),
            receiver: IgnoringReceiver())
    }()

    private final class IgnoringReceiver: APNSAnswerReceiver {
        func receive(_ answers: APNSAnswers) {}
    }

    /// Feeds `bytes` and then ends the connection.
    ///
    /// - Throws: `FuzzTargets.Violation`.
    func run(_ bytes: UnsafeRawBufferPointer, chunkBytes: Int) throws {
        var written = 0
        do throws(HTTP2SessionError) {
            written += try serialize()
            var rest = bytes
            while !rest.isEmpty, session.wantsToRead || session.wantsToWrite {
                try session.receive(UnsafeRawBufferPointer(rebasing: rest.prefix(chunkBytes)), delegate: self)
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(chunkBytes))
                submitPushes()
                written += try serialize()
            }
        } catch {
            // The server violated the protocol; the session may have a GOAWAY for it.
            written += (try? serialize()) ?? 0
        }
        for tag in streams.slots.indices {
            let stream = streams.slots[tag]
            report(
                UInt32(tag),
                StreamTable.resolution(
                    of: stream,
                    unanswered: machine.answerForLostStream(
                        stream.id, isSent: stream.state == .sent, failure: .connectionClosed))
            )
        }
        if let violation { throw violation }
        // A frame that requires a reply is about as long as the reply.
        try FuzzTargets.check(written <= Self.ownBytesMax + bytes.count * 2, "\(written) bytes for \(bytes.count)")
        try FuzzTargets.check(
            machine.state == .connecting || reports.allSatisfy { $0 == 1 }, "pushes were reported \(reports) times")
    }

    private func serialize() throws(HTTP2SessionError) -> Int { try session.serialize(delegate: self) { _ in } }

    private func submitPushes() {
        guard machine.state == .ready, streams.slots.isEmpty else { return }
        var headers = HTTP2Headers()
        headers.append(":method", "POST" as StaticString)
        headers.append(":scheme", "https" as StaticString)
        headers.append(":authority", "localhost" as StaticString)
        headers.append(":path", "/3/device/00" as StaticString)
        for index in 0..<UInt16(Self.pushes) {
            let tag = streams.open(batch, index, now: .uptimeNanoseconds(0))
            let body = HTTP2Body(Array(batch.batch.payload(at: Int(index))))
            do throws(HTTP2SessionError) {
                streams.submitted(tag, as: try session.submitRequest(headers, body: body, tag: tag))
            } catch {
                // The session is ending.
                report(tag, .requeue(.failed(.goAway, .neverWritten)))
                streams.close(tag)
            }
        }
    }

    private func report(_ tag: UInt32, _ resolution: StreamTable.Resolution) {
        guard resolution != .nothing else { return }
        let stream = streams.slots[Int(tag)]
        expect(stream.batch != nil, "a stream without a push was reported")
        expect(stream.body.count <= ErrorBody.bytesMax + 1, "a body of \(stream.body.count) bytes is kept")
        reports[Int(stream.index)] += 1
        streams.settle(tag)
    }

    private func expect(_ holds: Bool, _ promise: @autoclosure () -> String) {
        if !holds, violation == nil { violation = FuzzTargets.Violation(description: promise()) }
    }

    /// Every event must refer to the stream of its tag.
    private func expectOurs(_ stream: Int32, _ tag: UInt32, _ event: String) -> Bool {
        let isOurs = streams.slots.indices.contains(Int(tag)) && streams.slots[Int(tag)].id == stream
        expect(isOurs, "\(event) of stream \(stream), which is not the one with tag \(tag)")
        return isOurs
    }
}

extension FuzzedClient: HTTP2SessionDelegate {
    func settingsReceived() { _ = machine.settingsReceived() }

    func requestEnded(stream: Int32, tag: UInt32) {
        if expectOurs(stream, tag, "the end of the request") { streams.sent(tag, now: .uptimeNanoseconds(0)) }
    }

    func requestNotSent(stream: Int32, tag: UInt32) {
        guard expectOurs(stream, tag, "the loss of the request") else { return }
        report(tag, .requeue(machine.answerForDroppedRequest))
        streams.close(tag)
    }

    func headersBegan(stream: Int32, tag: UInt32) { _ = expectOurs(stream, tag, "an answer") }

    func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        guard expectOurs(stream, tag, "a field"), name.elementsEqual(":status".utf8) else { return }
        streams.statusReceived(UInt16(String(decoding: value, as: UTF8.self)) ?? 0, tag)
    }

    func headersEnded(stream: Int32, tag: UInt32) { _ = expectOurs(stream, tag, "the end of an answer's fields") }

    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        guard expectOurs(stream, tag, "data"), streams.bodyReceived(bytes, tag) else { return }
        answered(tag)
        session.reset(stream, code: .cancel)
    }

    func messageEnded(stream: Int32, tag: UInt32) {
        if expectOurs(stream, tag, "the end of an answer") { answered(tag) }
    }

    private func answered(_ tag: UInt32) {
        guard let (answer, unknownReason) = streams.answer(for: tag) else { return }
        report(tag, .settle(answer, unknownReason: unknownReason))
    }

    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) {
        guard expectOurs(stream, tag, "the end") else { return }
        let closed = streams.slots[Int(tag)]
        expect(closed.state != .unused, "stream \(stream) was closed twice")
        report(
            tag,
            StreamTable.resolution(
                of: closed,
                unanswered: machine.answerForClosedStream(
                    stream, isSent: closed.state == .sent, isRefused: code == .refusedStream))
        )
        streams.close(tag)
    }

    func goAwayReceived(_ goAway: HTTP2GoAway) {
        _ = machine.goAwayReceived(goAway)
    }
}
