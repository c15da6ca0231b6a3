import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Measures how much of a processor the calling thread uses.
struct ThreadCPUTime {
    private var last: (used: Int64, at: NIODeadline)?

    /// The share, 0...1, since the last call; 0 at the first call. To be called on the same thread each time.
    mutating func measureShare(now: NIODeadline) -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        let used = Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
        defer { last = (used, now) }
        guard let last, now > last.at else { return 0 }
        return Double(used - last.used) / Double((now - last.at).nanoseconds)
    }
}
