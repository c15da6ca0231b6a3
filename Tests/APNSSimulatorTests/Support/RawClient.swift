import APNSSimulator
import Foundation
import PushTesting
import Synchronization

/// An HTTP/2 client that sends and receives single frames, over a TLS connection by `openssl s_client`. It can violate
/// the protocol, unlike a library. Header fields are sent as plain HPACK literals and are not decoded.
final class RawClient: Sendable {
    /// One frame (RFC 9113, section 4.1).
    struct Frame: Sendable, Equatable {
        enum Kind: UInt8, Sendable {
            case data, headers, priority, reset, settings, pushPromise, ping, goAway, windowUpdate, continuation
        }

        var kind: Kind
        var flags: UInt8
        var stream: UInt32
        var payload: [UInt8]

        var isAcknowledgement: Bool { flags & 1 != 0 }
        var text: String { String(decoding: payload, as: UTF8.self) }
        /// The code of a RST_STREAM frame.
        var number: UInt32 { RawClient.number(payload[0..<4]) }
        /// The fields of a GOAWAY frame.
        var goAway: (last: UInt32, code: UInt32, debug: String) {
            (
                RawClient.number(payload[0..<4]), RawClient.number(payload[4..<8]),
                String(decoding: payload[8...], as: UTF8.self)
            )
        }
        /// Whether the first field is `:status: 200`, index 8 of HPACK's static table.
        var isSuccess: Bool { kind == .headers && payload.first == 0x88 }
        /// The values of a SETTINGS frame by identifier.
        var settings: [Int: UInt32] {
            stride(from: 0, to: payload.count, by: 6).reduce(into: [:]) { values, start in
                values[Int(payload[start]) << 8 | Int(payload[start + 1])] =
                    RawClient.number(payload[start + 2..<start + 6])
            }
        }
    }

    private struct Record {
        var bytes: [UInt8] = []
        var frames: [Frame] = []
        var isEnded = false
        var acknowledges: Bool
    }

    private let process: Process
    private let input: FileHandle
    private let record: Mutex<Record>
    /// The headers of all pushes. They share one provider token, as APNs requires.
    private let goodHeaders: [String: String]

    /// Connects. Call `begin` afterwards.
    ///
    /// - Parameters:
    ///   - acknowledges: Whether SETTINGS and PING frames are acknowledged automatically.
    ///   - options: Further arguments of `openssl s_client`.
    init(_ running: RunningSimulator, acknowledges: Bool = true, options: [String] = ["-alpn", "h2"]) throws {
        // A write to a closed connection must not end the test process.
        signal(SIGPIPE, SIG_IGN)
        goodHeaders = try running.goodHeaders()
        process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments =
            ["openssl", "s_client", "-quiet", "-connect", "localhost:\(running.simulator.port)", "-CAfile"]
            + [running.authority] + options
        let (stdin, stdout) = (Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        process.standardError = FileHandle.nullDevice
        input = stdin.fileHandleForWriting
        record = Mutex(Record(acknowledges: acknowledges))
        try process.run()
        let output = stdout.fileHandleForReading
        Thread.detachNewThread { [weak self] in
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = read(output.fileDescriptor, &buffer, buffer.count)
                self?.received(buffer.prefix(max(0, count)))
                if count <= 0 { break }
            }
        }
    }

    deinit { stop() }

    /// SIGKILL, because the tests may run with other signals blocked.
    private func stop() { kill(process.processIdentifier, SIGKILL) }

    static func with(
        _ running: RunningSimulator, acknowledges: Bool = true, options: [String] = ["-alpn", "h2"],
        _ body: (RawClient) async throws -> Void
    ) async throws {
        let client = try RawClient(running, acknowledges: acknowledges, options: options)
        defer { client.stop() }
        client.begin()
        try await body(client)
    }

    // MARK: Sending

    /// Sends the client's preface (RFC 9113, section 3.4), then SETTINGS with `settings`.
    func begin(_ settings: [UInt8] = []) {
        send(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8))
        send(.settings, payload: settings)
    }

    func send(_ bytes: [UInt8]) { try? input.write(contentsOf: Data(bytes)) }

    func send(_ kind: Frame.Kind, flags: UInt8 = 0, stream: UInt32 = 0, payload: [UInt8] = []) {
        let length = [UInt8(payload.count >> 16), UInt8(payload.count >> 8 & 255), UInt8(payload.count & 255)]
        send(length + [kind.rawValue, flags] + Self.bytes(stream) + payload)
    }

    /// Sends a push, with its body unless that is nil. `changes` modifies `goodHeaders`; nil removes a field.
    func push(
        _ stream: UInt32, path: String = "/3/device/\(RunningSimulator.deviceToken)", changes: [String: String?] = [:],
        body: String? = RunningSimulator.payload, prefix: [UInt8] = []
    ) {
        var headers = goodHeaders
        for (name, value) in changes { headers[name] = value }
        headers["apns-id"] = changes["apns-id"] ?? nil
        sendHeaders(stream, path: path, headers, prefix: prefix)
        if let body { send(.data, flags: 1, stream: stream, payload: Array(body.utf8)) }
    }

    /// - Parameter prefix: Bytes before the header block.
    private func sendHeaders(_ stream: UInt32, path: String, _ headers: [String: String], prefix: [UInt8]) {
        let pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        let block = (pseudo + headers.map { ($0.key, $0.value) }).flatMap { Self.literal($0) + Self.literal($1, false) }
        send(.headers, flags: 4, stream: stream, payload: prefix + block)
    }

    /// HPACK, RFC 7541 section 6.2.2: a literal without indexing with a new name, no Huffman code.
    private static func literal(_ text: String, _ isName: Bool = true) -> [UInt8] {
        let bytes = Array(text.utf8)
        var length = [UInt8(min(bytes.count, 127))]
        if bytes.count >= 127 {
            var rest = bytes.count - 127
            while rest >= 128 {
                length.append(UInt8(rest & 127 | 128))
                rest >>= 7
            }
            length.append(UInt8(rest))
        }
        return (isName ? [0] : []) + length + bytes
    }

    // MARK: Receiving

    private func received(_ data: ArraySlice<UInt8>) {
        let answers = record.withLock { record -> [Frame] in
            if data.isEmpty { record.isEnded = true }
            record.bytes += data
            var new: [Frame] = []
            while record.bytes.count >= 9 {
                let length = Int(Self.number([0] + record.bytes[0..<3]))
                guard record.bytes.count >= 9 + length else { break }
                if let kind = Frame.Kind(rawValue: record.bytes[3]) {
                    new.append(
                        Frame(
                            kind: kind, flags: record.bytes[4], stream: Self.number(record.bytes[5..<9]),
                            payload: Array(record.bytes[9..<9 + length])
                        )
                    )
                }
                record.bytes.removeFirst(9 + length)
            }
            record.frames += new
            return record.acknowledges ? new : []
        }
        for frame in answers where [.settings, .ping].contains(frame.kind) && !frame.isAcknowledgement {
            send(frame.kind, flags: 1, payload: frame.kind == .ping ? frame.payload : [])
        }
    }

    var frames: [Frame] { record.withLock { $0.frames } }
    var isEnded: Bool { record.withLock { $0.isEnded } }

    func frames(_ kind: Frame.Kind, stream: UInt32? = nil) -> [Frame] {
        frames.filter { $0.kind == kind && (stream == nil || $0.stream == stream) }
    }

    /// The announced limits of concurrent streams, in order.
    var streamLimits: [UInt32] { frames(.settings).compactMap { $0.settings[3] } }

    /// The `reason` in the body of an error, or "200".
    func response(_ stream: UInt32) -> String? {
        if frames(.headers, stream: stream).first?.isSuccess == true { return "200" }
        guard let body = frames(.data, stream: stream).first?.text, let start = body.range(of: #""reason":""#) else {
            return nil
        }
        return String(body[start.upperBound...].prefix { $0 != "\"" })
    }

    func wait(_ what: String, _ condition: (RawClient) -> Bool) async throws {
        do {
            try await waitUntil(what, within: .seconds(8)) { condition(self) }
        } catch {
            throw WaitTimedOut("\(what); received frames: \(summary)", .seconds(8))
        }
    }

    func awaitResponse(_ stream: UInt32) async throws -> String {
        try await wait("a response on stream \(stream)") { $0.response(stream) != nil }
        return response(stream) ?? ""
    }

    var summary: String {
        frames.map { "\($0.kind)/\($0.stream)/\($0.payload.prefix(24))" }.joined(separator: " ")
            + (isEnded ? " end" : "")
    }

    // MARK: Numbers

    static func number(_ bytes: some Sequence<UInt8>) -> UInt32 { bytes.reduce(0) { $0 << 8 | UInt32($1) } }

    static func bytes(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }
}
