import PushDispatch
import PushModel

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The machine's clocks: the one place of the push path that reads them.
enum SystemClock {
    static func wall() -> WallTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    /// Nanoseconds that never jump and go on while the machine sleeps.
    static func monotonic() -> UInt64 {
        var time = timespec()
        #if os(Linux)
            clock_gettime(CLOCK_BOOTTIME, &time)
        #else
            clock_gettime(CLOCK_MONOTONIC, &time)
        #endif
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

extension DispatchClock {
    static let system = DispatchClock(wall: SystemClock.wall, monotonic: SystemClock.monotonic)
}
