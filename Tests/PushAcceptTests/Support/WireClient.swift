import Foundation

/// A blocking HTTP/1.1 client that can misbehave: stop within a request, or not read.
///
/// SAFETY: apart from the descriptor, which is constant, the only state is changed by `close`, which a test calls when no other call runs.
final class WireClient: @unchecked Sendable {
    struct Failure: Error {
        var text: String
    }

    private let socket: Int32
    private var isOpen = true

    init(port: Int) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure(text: "connect: \(errno)") }
        var noDelay: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &noDelay, socklen_t(MemoryLayout<Int32>.size))
        // A hanging test fails instead.
        var timeout = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close() }

    func close() {
        if isOpen { Glibc.close(socket) }
        isOpen = false
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure(text: "send: \(errno)") }
            sent += count
        }
    }

    /// One chunk of a chunked body.
    func sendChunk(_ text: String) throws {
        try send("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n")
    }

    func closeOutput() { shutdown(socket, Int32(SHUT_WR)) }

    /// Reads at most `max` bytes; empty at the end of the connection, which may be a reset.
    func read(max: Int = 65_536) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: max)
        let count = recv(socket, &buffer, max, 0)
        if count < 0, errno == ECONNRESET { return [] }
        guard count >= 0 else { throw Failure(text: "recv: \(errno)") }
        return Array(buffer[..<count])
    }

    /// Reads until `text` has arrived.
    func read(until text: String) throws -> String {
        var all = ""
        while !all.contains(text) {
            let bytes = try read()
            guard !bytes.isEmpty else { throw Failure(text: "the connection ended after: \(all.suffix(200))") }
            all += String(decoding: bytes, as: UTF8.self)
        }
        return all
    }

    /// Reads this number of responses, each with a `Content-Length`.
    func readResponses(_ count: Int) throws -> [WireResponse] {
        var all: [UInt8] = []
        var responses: [WireResponse] = []
        while responses.count < count {
            while responses.count < count, let head = all.firstRange(of: Array("\r\n\r\n".utf8)),
                let response = WireResponse(Array(all[..<head.upperBound])),
                let length = response.headers["content-length"].flatMap({ Int($0) }),
                all.count >= head.upperBound + length,
                let whole = WireResponse(Array(all[..<(head.upperBound + length)]))
            {
                responses.append(whole)
                all.removeFirst(head.upperBound + length)
            }
            guard responses.count < count else { break }
            let bytes = try read()
            guard !bytes.isEmpty else { throw Failure(text: "the connection ended after \(responses.count) responses") }
            all += bytes
        }
        return responses
    }

    /// Reads to the end of the connection.
    func readResponse(isHead: Bool = false) throws -> WireResponse {
        var all: [UInt8] = []
        while true {
            let bytes = try read()
            if bytes.isEmpty { break }
            all += bytes
        }
        guard let response = WireResponse(all) else {
            throw Failure(text: "not a response: \(String(decoding: all.prefix(200), as: UTF8.self))")
        }
        return response
    }
}

struct WireResponse: Sendable {
    var status: Int
    /// Names in lower case.
    var headers: [String: String]
    var body: String

    init?(_ bytes: [UInt8]) {
        var bytes = bytes[...]
        var head: [String] = []
        repeat {
            guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
            head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
            bytes = bytes[end.upperBound...]
        } while head[0].contains(" 100 ")
        guard let status = Int(head[0].split(separator: " ")[1]) else { return nil }
        self.status = status
        headers = [:]
        for line in head.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            headers[line[..<colon].lowercased()] = value
        }
        if headers["transfer-encoding"] == "chunked" {
            var plain: [UInt8] = []
            while let end = bytes.firstRange(of: Array("\r\n".utf8)),
                let size = Int(String(decoding: bytes[..<end.lowerBound], as: UTF8.self), radix: 16), size > 0,
                bytes.endIndex >= end.upperBound + size + 2
            {
                plain += bytes[end.upperBound..<end.upperBound + size]
                bytes = bytes[(end.upperBound + size + 2)...]
            }
            body = String(decoding: plain, as: UTF8.self)
        } else {
            body = String(decoding: bytes, as: UTF8.self)
        }
    }

    /// The body as one JSON object.
    var json: [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [String: Any] ?? [:]
    }

    /// The body as one JSON object per line.
    var lines: [[String: Any]] {
        body.split(separator: "\n").compactMap {
            (try? JSONSerialization.jsonObject(with: Data($0.utf8))) as? [String: Any]
        }
    }
}

/// A line of NDJSON with a push whose token ends in `number`.
func pushLine(_ number: Int, _ more: String = "") -> String {
    let token = String(repeating: "ab", count: 28) + String(format: "%08x", number)
    return #"{"device_token":"\#(token)","payload":{"aps":{"alert":"Hello \#(number)"}}\#(more)}"#
}
