/// Divides due times into windows. The pushes of one batch are due within one window.
///
/// A batch is claimed when its first push is due and is held until the last one is, so a window is short: 30 seconds, or
/// 1/64 to 1/32 of the time that is left, if that is longer. The number of windows therefore grows only with the
/// logarithm of the range of times: about 210 for the next 14 hours.
///
/// Windows start at multiples of their length, so that a window has the same start for all requests.
enum DueWindow {
    static let secondsMin: Int64 = 30

    /// The start of the window of `due`, which identifies it. All times are UNIX seconds; `due` is after `now`.
    static func start(of due: Int64, now: Int64) -> Int64 {
        let share = (due - now) / 32
        // The largest power of two up to `share`, so that neighbouring times have windows of the same length.
        let seconds = share < 32 ? secondsMin : 1 << (Int64.bitWidth - 1 - share.leadingZeroBitCount)
        return due / seconds * seconds
    }
}
