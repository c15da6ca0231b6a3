import Foundation

/// The most memory that this process had at once since the meter was made, in bytes of resident size.
struct PeakMemory {
    /// What a hostile server may cost. Sanitizers hold on to memory that was given back.
    static let growthMax = ProcessInfo.processInfo.environment["GODWIT_SANITIZER"] == nil ? 64 << 20 : 512 << 20

    private let before: Int

    /// - Throws: when the system keeps no such books.
    init() throws {
        // proc(5), /proc/pid/clear_refs: 5 sets the peak back to what is in use now.
        try "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8)
        before = try Self.bytes("VmRSS:")
    }

    func growth() throws -> Int { try Self.bytes("VmHWM:") - before }

    private static func bytes(_ name: String) throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name) }),
            let kibibytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) })
        else { throw CocoaError(.fileReadCorruptFile) }
        return kibibytes * 1024
    }
}
