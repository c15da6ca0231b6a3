#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// One block of a PEM text, from its `BEGIN` line to its `END` line.
///
/// Texts are read as openssl reads them (RFC 7468, section 2, "lax" parsing, and RFC 1421 headers): lines of any length, any
/// line ending, indentation, a byte order mark, and any text before, between and after blocks. The text may hold secrets,
/// so no error quotes it.
struct PEMBlock {
    /// What the block is, such as `PRIVATE KEY`. It comes from the file and is never shown.
    var label: String
    /// The lines before the first empty line of an encrypted key, such as `Proc-Type: 4,ENCRYPTED`.
    var headers: [String]
    /// The decoded bytes.
    var bytes: [UInt8]

    var isEncrypted: Bool { label == "ENCRYPTED PRIVATE KEY" || headers.contains { $0.hasSuffix("ENCRYPTED") } }
    var isPrivateKey: Bool { label == "PRIVATE KEY" || label.hasSuffix(" PRIVATE KEY") }
    var isCertificate: Bool { label == "CERTIFICATE" || label == "X509 CERTIFICATE" }

    /// The block alone, in the form that every parser reads.
    var canonicalText: String {
        let encoded = Data(bytes).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
        let head = headers.isEmpty ? "" : headers.joined(separator: "\n") + "\n\n"
        return "-----BEGIN \(label)-----\n\(head)\(encoded)\n-----END \(label)-----\n"
    }

    /// The blocks of a text.
    struct Document {
        var blocks: [PEMBlock] = []
        /// Whether a block begins and does not end, or is not Base64.
        var isDamaged = false
    }

    static func read(_ text: [UInt8]) -> Document {
        var document = Document()
        var open: (label: String, headers: [String], body: [UInt8])?
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: { $0 == 0x0A || $0 == 0x0D }) {
            let line = trimmed(line)
            if let label = label(of: line, "-----BEGIN ") {
                if open != nil { document.isDamaged = true }
                open = (label, [], [])
            } else if var block = open {
                if let label = label(of: line, "-----END ") {
                    open = nil
                    guard label == block.label, let bytes = Data(base64Encoded: Data(block.body)), !bytes.isEmpty else {
                        document.isDamaged = true
                        continue
                    }
                    document.blocks.append(PEMBlock(label: label, headers: block.headers, bytes: Array(bytes)))
                } else {
                    if line.contains(UInt8(ascii: ":")) {
                        block.headers.append(String(decoding: line, as: UTF8.self))
                    } else {
                        block.body += line.filter { !isBlank($0) }
                    }
                    open = block
                }
            }
        }
        if open != nil { document.isDamaged = true }
        return document
    }

    private static func label(of line: ArraySlice<UInt8>, _ start: String) -> String? {
        guard line.starts(with: start.utf8), line.suffix(5).elementsEqual("-----".utf8) else { return nil }
        let label = line.dropFirst(start.utf8.count).dropLast(5)
        return label.isEmpty ? nil : String(decoding: label, as: UTF8.self)
    }

    /// Without blanks, and without a byte order mark.
    private static func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var line = line
        if line.starts(with: [0xEF, 0xBB, 0xBF]) { line = line.dropFirst(3) }
        while let first = line.first, isBlank(first) { line = line.dropFirst() }
        while let last = line.last, isBlank(last) { line = line.dropLast() }
        return line
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}
