import APNSWire
import Foundation
import JSONText

/// Lines that report the results of pushes: the gateway's own, with what identifies the push in the input.
package enum ResultLine {
    /// Puts `index`, `line` and `token`, the first digits of the device token, at the start of a line of the gateway.
    ///
    /// - Parameters:
    ///   - gatewayLine: a JSON object.
    ///   - index: counted from 0 over the whole input; replaces that of the gateway, which counts for one request.
    ///   - isFile: whether the input has lines that the user knows.
    package static func bytes(
        _ gatewayLine: ArraySlice<UInt8>, index: Int, push: PushLine, isFile: Bool
    ) -> [UInt8] {
        var rest = gatewayLine.dropFirst()
        if rest.starts(with: "\"index\":".utf8), let comma = rest.firstIndex(of: UInt8(ascii: ",")) {
            rest = rest[(comma + 1)...]
        }
        var line = Array("{\"index\":\(index),".utf8)
        if isFile { line += "\"line\":\(push.number),".utf8 }
        if !push.tokenPrefix.isEmpty { line += "\"token\":\"\(push.tokenPrefix)\",".utf8 }
        return line + rest
    }

    /// The line of an accepted push whose verdict is not known.
    package static func bytes(_ push: SentPush, state: String, isFile: Bool) -> [UInt8] {
        bytes(
            Array("{\"msg_id\":\"\(push.id)\",\"state\":\"\(state)\"}".utf8)[...], index: Int(push.index),
            push: push.line, isFile: isFile)
    }
}

/// A file of result lines.
final class ResultFile {
    private let path: String
    private let file: FileHandle
    private var buffer: [UInt8] = []

    /// - Throws: `GatewayFailure` if the file cannot be written.
    init(path: String) throws {
        self.path = path
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else {
            throw GatewayFailure(description: "\(path) cannot be written: \(PlainReason.of(errno: errno))")
        }
        file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    func write(_ line: [UInt8]) throws {
        buffer += line
        buffer.append(UInt8(ascii: "\n"))
        if buffer.count >= 64 * 1024 { try flush() }
    }

    func close() throws {
        try flush()
        try file.close()
    }

    private func flush() throws {
        do {
            try file.write(contentsOf: buffer)
        } catch {
            throw GatewayFailure(description: "\(path) cannot be written: \(PlainReason.of(error))")
        }
        buffer = []
    }
}
