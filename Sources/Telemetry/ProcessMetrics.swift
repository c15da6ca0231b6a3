#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The resource usage of this process, according to the kernel.
package struct ProcessUsage: Sendable {
    /// User and system time of all threads, in seconds.
    package var cpuSeconds: Double
    /// The peak resident size, in bytes.
    package var residentBytesPeak: Int

    /// The usage up to now.
    package static var now: ProcessUsage {
        var usage = rusage()
        #if canImport(Glibc)
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        #else
        getrusage(RUSAGE_SELF, &usage)
        #endif
        #if os(Linux)
        let peakUnit = 1024  // getrusage(2): kilobytes on Linux
        #else
        let peakUnit = 1
        #endif
        let seconds = Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        let microseconds = Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
        return ProcessUsage(
            cpuSeconds: seconds + microseconds / 1e6, residentBytesPeak: Int(usage.ru_maxrss) * peakUnit
        )
    }

    /// The current resident size, in bytes; 0 on systems without `/proc`.
    package static var residentBytes: Int {
        // proc(5): the second field of statm is the resident set, in pages.
        let fields = readText("/proc/self/statm").split(separator: " ")
        guard fields.count > 1, let pages = Int(fields[1]) else { return 0 }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// The number of open file descriptors; 0 on systems without `/proc`.
    package static var openFileCount: Int {
        guard let folder = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(folder) }
        var count = -3  // `.`, `..` and the descriptor of the folder itself
        while readdir(folder) != nil { count += 1 }
        return max(count, 0)
    }

    /// How many file descriptors this process may have open.
    package static var openFilesMax: Int {
        var limit = rlimit()
        #if canImport(Glibc)
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        #else
        guard getrlimit(RLIMIT_NOFILE, &limit) == 0 else { return 0 }
        #endif
        return Int(clamping: limit.rlim_cur)
    }

    private static func readText(_ path: String) -> Substring {
        let file = open(path, O_RDONLY)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let length = read(file, &bytes, bytes.count)
        return length > 0 ? Substring(decoding: bytes[..<length], as: UTF8.self) : ""
    }
}

extension MetricsRegistry {
    /// Registers the `process_…` metrics that are standard in Prometheus client libraries.
    ///
    /// - Parameter startedAt: seconds since 1970.
    package func registerProcessMetrics(startedAt: Double) {
        counter("process_cpu_seconds_total", help: "Total user and system CPU time spent in seconds.") {
            ProcessUsage.now.cpuSeconds
        }
        gauge("process_resident_memory_bytes", help: "Resident memory size in bytes.") {
            Double(ProcessUsage.residentBytes)
        }
        gauge("process_open_fds", help: "Number of open file descriptors.") { Double(ProcessUsage.openFileCount) }
        gauge("process_max_fds", help: "Maximum number of open file descriptors.") { Double(ProcessUsage.openFilesMax) }
        gauge("process_start_time_seconds", help: "Start time of the process since unix epoch in seconds.") {
            startedAt
        }
    }
}
