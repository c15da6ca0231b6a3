#if canImport(Darwin)
import Darwin
#elseif canImport(Musl)
import Musl
#else
import Glibc
#endif

/// The simulator's only source of wall-clock time.
enum SystemTime {
    @Sendable static func unixMilliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

extension UnsafeRawBufferPointer {
    @inline(__always)
    func equals(_ text: StaticString) -> Bool {
        count == text.utf8CodeUnitCount && (count == 0 || memcmp(baseAddress!, text.utf8Start, count) == 0)
    }

    @inline(__always)
    func equals(_ bytes: [UInt8]) -> Bool {
        count == bytes.count
            && (count == 0 || bytes.withUnsafeBytes { memcmp(baseAddress!, $0.baseAddress!, count) == 0 })
    }
}
