import Foundation

/// Measures the peak resident size of this process, in bytes.
struct PeakMemory {
    /// The growth that a hostile server may cause. Sanitizers keep freed memory.
    static let growthMax = ProcessInfo.processInfo.environment["GODWIT_SANITIZER"] == nil ? 64 << 20 : 512 << 20

    private let before: Int

    /// Starts a measurement.
    ///
    /// - Throws: if the system does not report the peak.
    init() throws {
        // proc(5), /proc/pid/clear_refs: 5 resets the peak to the current size.
        try "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8)
        before = try Self.bytes("VmRSS:")
    }

    /// The peak since the start, minus the size at the start.
    func growth() throws -> Int { try Self.bytes("VmHWM:") - before }

    private static func bytes(_ name: String) throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name) }),
            let kibibytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) })
        else { throw CocoaError(.fileReadCorruptFile) }
        return kibibytes * 1024
    }
}
