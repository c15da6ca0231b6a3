import APNSKit
import APNSWire
import HTTP2Session

/// What is done with each input of a fuzzer. The tests do the same with every input of the corpus.
package enum FuzzTargets {
    /// A promise that an input broke.
    package struct Broken: Error, CustomStringConvertible {
        package let description: String
    }

    static func check(_ holds: Bool, _ promise: @autoclosure () -> String) throws {
        guard holds else { throw Broken(description: promise()) }
    }

    /// The body of an error answer.
    package static func errorBody(_ bytes: UnsafeRawBufferPointer) throws {
        let body = ErrorBody(Array(bytes))
        try check(body.timestamp >= 0, "a timestamp is never negative")
        try check((body.reason == .unknown) == (body.unknownReason != nil), "an unknown reason comes with its text")
        if bytes.count > ErrorBody.bytesMax { try check(body == ErrorBody([]), "a longer body says nothing") }
        guard let text = body.unknownReason else { return }
        try check(text.utf8.count <= ErrorBody.unknownReasonBytesMax, "the text of a reason is short")
        try check(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }, "and printable")
    }

    /// The first bytes of a connection, which may be a GOAWAY; libnghttp2, which is shown SETTINGS first, must agree.
    package static func goAway(_ bytes: UnsafeRawBufferPointer) throws {
        let early = EarlyGoAway.read(bytes)
        if let early {
            try check(early.lastStream >= 0, "a stream's id has 31 bits")
            try check(early.debugData.count <= HTTP2Limits().debugDataBytesMax, "debug data is cut off")
            _ = ErrorBody(early.debugData)
        }
        let listener = GoAwayListener()
        let session = HTTP2Session(role: .client)
        let emptySettings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]
        do {
            try emptySettings.withUnsafeBytes { try session.receive($0, delegate: listener) }
            try session.receive(bytes, delegate: listener)
        } catch {
            // Bytes that are no frames at all.
        }
        guard bytes.count > 3, bytes[3] == 7, let first = listener.first else { return }
        try check(early == first, "\(String(describing: early)) is not \(first)")
    }

    /// A server's whole side of a connection on which eight pushes are under way.
    ///
    /// The first byte says in how many pieces the others come.
    package static func frames(_ bytes: UnsafeRawBufferPointer) throws {
        guard let first = bytes.first else { return }
        let client = FuzzedClient()
        try client.run(UnsafeRawBufferPointer(rebasing: bytes.dropFirst()), pieceBytes: 1 + Int(first) * 8)
    }
}

private final class GoAwayListener: HTTP2SessionDelegate {
    private(set) var first: HTTP2GoAway?

    func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {}
    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {}
    func messageEnded(stream: Int32, tag: UInt32) {}
    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) {}
    func goAwayReceived(_ goAway: HTTP2GoAway) { first = first ?? goAway }
}
