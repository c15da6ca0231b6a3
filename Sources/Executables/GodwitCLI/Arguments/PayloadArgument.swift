import ArgumentParser
import Foundation
import JSONText
import PushGateway

/// The value of `--payload`: JSON, `@FILE`, or `-` for standard input.
package enum PayloadArgument {
    /// Whether the JSON is the argument itself.
    package static func isInline(_ argument: String) -> Bool { argument != "-" && !argument.hasPrefix("@") }

    /// - Throws: `ValidationError` or `CommandError`; the text contains no part of the payload.
    package static func read(_ argument: String) throws -> [UInt8] {
        let (json, source) = try bytes(argument)
        return try json.withUnsafeBytes { bytes in
            let start = ByteOrderMark.length(in: bytes)
            var reader = JSONReader(bytes, at: start)
            do {
                try reader.skipValue()
                try reader.finish()
            } catch {
                let hint = source == nil ? "; a file is read with --payload @FILE" : ""
                throw ValidationError("--payload is not JSON\(source.map { " in \($0)" } ?? ""): \(error)\(hint)")
            }
            return Array(bytes[start...])
        }
    }

    /// - Returns: the bytes, and what they were read from; nil: the argument itself.
    private static func bytes(_ argument: String) throws(CommandError) -> ([UInt8], source: String?) {
        if isInline(argument) { return (Array(argument.utf8), nil) }
        let isInput = argument == "-" || argument == "@-"
        let name = isInput ? "standard input" : String(argument.dropFirst())
        do throws(UnreadableFile) {
            if isInput { return (try TextFile.contents(of: .standardInput), name) }
            return (Array(try TextFile.read(UserPath.expanded(name)).utf8), name)
        } catch {
            throw CommandError("--payload: \(name) cannot be read: \(error)")
        }
    }
}
