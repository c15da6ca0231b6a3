import APNSKit
import APNSWire
import HTTP2Session

/// The properties that each fuzzer input must satisfy. The tests check every input of the corpus.
package enum FuzzTargets {
    /// A property that an input violates.
    package struct Violation: Error, CustomStringConvertible {
        package let description: String
    }

    static func check(_ holds: Bool, _ promise: @autoclosure () -> String) throws {
        guard holds else { throw Violation(description: promise()) }
    }

    /// The input is the body of an error answer.
    package static func errorBody(_ bytes: UnsafeRawBufferPointer) throws {
        let body = ErrorBody(Array(bytes))
        try check(body.timestamp >= 0, "a timestamp is never negative")
        try check((body.reason == .unknown) == (body.unknownReason != nil), "an unknown reason has its text")
        if bytes.count > ErrorBody.bytesMax { try check(body == ErrorBody([]), "a longer body is not read") }
        guard let text = body.unknownReason else { return }
        try check(text.utf8.count <= ErrorBody.unknownReasonBytesMax, "the text of a reason is short")
        try check(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }, "and printable")
    }

    /// The input is the first bytes of a connection, possibly a GOAWAY. libnghttp2, which gets SETTINGS first, must
    /// read the same GOAWAY.
    package static func goAway(_ bytes: UnsafeRawBufferPointer) throws {
        let early = EarlyGoAway.read(bytes)
        if let early {
            try check(early.lastStream >= 0, "a stream's id has 31 bits")
            try check(early.debugData.count <= HTTP2Limits().debugDataBytesMax, "debug data is cut off")
            _ = ErrorBody(early.debugData)
        }
        var reader = EarlyGoAway()
        var actions = bytes.map { byte in withUnsafeBytes(of: byte) { reader.receive($0) } }
        actions = actions.filter { $0 != .wait && $0 != .pass(held: []) }
        if let early, case .goAway(let split) = actions.first {
            try check(early == split, "a frame that arrives byte by byte is the same")
        }
        let recorder = GoAwayRecorder()
        let session = HTTP2Session(role: .client)
        let emptySettings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]
        do {
            try emptySettings.withUnsafeBytes { try session.receive($0, delegate: recorder) }
            try session.receive(bytes, delegate: recorder)
        } catch {
            // The bytes are not valid frames.
        }
        guard bytes.count > 3, bytes[3] == 7, let first = recorder.first else { return }
        try check(early == first, "\(String(describing: early)) is not \(first)")
    }

    /// The input is the server's side of a connection with eight pushes in flight.
    ///
    /// The first byte sets the size of the chunks in which the others are received.
    package static func frames(_ bytes: UnsafeRawBufferPointer) throws {
        guard let first = bytes.first else { return }
        let client = FuzzedClient()
        try client.run(UnsafeRawBufferPointer(rebasing: bytes.dropFirst()), chunkBytes: 1 + Int(first) * 8)
    }
}

private final class GoAwayRecorder: HTTP2SessionDelegate {
    private(set) var first: HTTP2GoAway?

    func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {}
    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {}
    func messageEnded(stream: Int32, tag: UInt32) {}
    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) {}
    func goAwayReceived(_ goAway: HTTP2GoAway) { first = first ?? goAway }
}
