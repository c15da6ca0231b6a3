import APNSKit
import APNSWire
import HTTP2Session
import NIOCore

/// The client's side of a connection without a socket: a session and the table of its streams, put together as
/// `APNSConnection` does, and every promise that they make to it.
final class FuzzedClient {
    private static let pushes = 8
    /// The frames that the client says by itself, and its requests.
    private static let ownBytesMax = 8192

    private let session = HTTP2Session(role: .client, settings: HTTP2Settings(isPushEnabled: false))
    private var streams = StreamTable()
    private var isReady = false
    private var goAway: (lastStream: Int32, reason: APNSReason)?
    /// How often each push was reported, by index.
    private var reports = [Int](repeating: 0, count: pushes)
    private var broken: FuzzTargets.Broken?

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
        return InFlightBatch(batch, indexes: nil, ticket: 0, serial: 1, deadline: .distantFuture, receiver: Nobody())
    }()

    private final class Nobody: APNSAnswerReceiver {
        func receive(_ answers: APNSAnswers) {}
    }

    /// Feeds `bytes` and then ends the connection.
    ///
    /// - Throws: `FuzzTargets.Broken`.
    func run(_ bytes: UnsafeRawBufferPointer, pieceBytes: Int) throws {
        var written = 0
        do throws(HTTP2SessionError) {
            written += try drain()
            var rest = bytes
            while !rest.isEmpty, session.wantsToRead || session.wantsToWrite {
                try session.receive(UnsafeRawBufferPointer(rebasing: rest.prefix(pieceBytes)), delegate: self)
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(pieceBytes))
                submitPushes()
                written += try drain()
            }
        } catch {
            // The server broke the protocol; the session may have a last word.
            written += (try? drain()) ?? 0
        }
        for tag in streams.streams.indices {
            let ending = StreamTable.ending(
                of: streams.streams[tag], lostBecause: .connectionClosed, reason: .none, goAwayLast: goAway?.lastStream
            )
            report(UInt32(tag), ending)
        }
        if let broken { throw broken }
        // Each frame that must be answered is as long as its answer, or nearly.
        try FuzzTargets.check(written <= Self.ownBytesMax + bytes.count * 2, "\(written) bytes for \(bytes.count)")
        try FuzzTargets.check(!isReady || reports.allSatisfy { $0 == 1 }, "pushes were reported \(reports) times")
    }

    private func drain() throws(HTTP2SessionError) -> Int { try session.drain(delegate: self) { _ in } }

    private func submitPushes() {
        guard isReady, streams.streams.isEmpty else { return }
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
                report(tag, .move(.failed(.goAway, .neverWritten)))
                streams.close(tag)
            }
        }
    }

    private func report(_ tag: UInt32, _ ending: StreamTable.Ending) {
        guard ending != .nothing else { return }
        let stream = streams.streams[Int(tag)]
        expect(stream.batch != nil, "a stream without a push was reported")
        expect(stream.body.count <= ErrorBody.bytesMax + 1, "a body of \(stream.body.count) bytes is kept")
        reports[Int(stream.index)] += 1
        streams.settle(tag)
    }

    private func expect(_ holds: Bool, _ promise: @autoclosure () -> String) {
        if !holds, broken == nil { broken = FuzzTargets.Broken(description: promise()) }
    }

    /// Every event must be about the stream that has the tag.
    private func expectOurs(_ stream: Int32, _ tag: UInt32, _ event: String) -> Bool {
        let isOurs = streams.streams.indices.contains(Int(tag)) && streams.streams[Int(tag)].id == stream
        expect(isOurs, "\(event) of stream \(stream), which is not the one with tag \(tag)")
        return isOurs
    }
}

extension FuzzedClient: HTTP2SessionDelegate {
    func settingsReceived() { isReady = true }

    func requestEnded(stream: Int32, tag: UInt32) {
        if expectOurs(stream, tag, "the end of the request") { streams.sent(tag) }
    }

    func requestNotSent(stream: Int32, tag: UInt32) {
        guard expectOurs(stream, tag, "the loss of the request") else { return }
        report(tag, .move(.failed(.streamRefused, .neverWritten)))
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
        guard let (answer, unknownReason) = streams.answered(tag) else { return }
        report(tag, .settle(answer, unknownReason: unknownReason))
    }

    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) {
        guard expectOurs(stream, tag, "the end") else { return }
        let carried = streams.streams[Int(tag)]
        expect(carried.state != .unused, "stream \(stream) was closed twice")
        report(tag, StreamTable.ending(of: carried, isRefused: code == .refusedStream, goAway: goAway))
        streams.close(tag)
    }

    func goAwayReceived(_ goAway: HTTP2GoAway) {
        self.goAway = (goAway.lastStream, ErrorBody(goAway.debugData).reason)
    }
}
