package import APNSWire
import JSONText
package import PushModel
import PushStore

/// Checks pushes with the parser and the lint of acceptance. Nothing is stored or sent.
///
/// Pure, and bounded in memory: one item, and the first `reportsMax` pushes with a fault or a warning.
package struct PushValidator {
    package enum Format: Sendable {
        case lines
        /// An array of pushes, or one push.
        case json
        /// One of the two: lines if the first line is a JSON value.
        case automatic
    }

    /// A push that is refused or has warnings.
    package struct Report: Sendable, Equatable {
        package enum Verdict: Sendable, Equatable {
            case refused(Refusal)
            case warned([LintFinding])
        }

        /// Index of the item.
        package var index: Int
        /// Index in `device_tokens`, for a fault of one token.
        package var token: Int?
        package var verdict: Verdict
        /// Of a push that the lint refuses, its other findings.
        package var further: [LintFinding] = []
    }

    /// Pushes that acceptance would refuse.
    package private(set) var refused = 0
    /// Pushes that it would accept with warnings.
    package private(set) var warned = 0
    /// Pushes that it would accept, with or without warnings.
    package private(set) var accepted = 0
    package private(set) var reports: [Report] = []

    private let reportsMax: Int
    private let itemBytesMax: Int
    private var format: Format
    private var parser: PushParser
    private var framer: ItemFramer?
    /// The start of a body whose format is not known yet, or a body of one push.
    private var start: [UInt8] = []
    private var isOnePush = false
    private var isTooLarge = false
    private var index = 0

    package init(
        apps: AppDirectory, format: Format, defaultLane: Lane = .normal, strict: Bool,
        itemBytesMax: Int = AcceptConfiguration().itemBytesMax, reportsMax: Int
    ) {
        self.format = format
        self.itemBytesMax = itemBytesMax
        self.reportsMax = reportsMax
        parser = PushParser(apps: apps, defaultLane: defaultLane, strict: strict)
        if format == .lines { framer = ItemFramer(format: .lines, itemBytesMax: itemBytesMax) }
    }

    /// Whether further pushes with a fault or warning are only counted.
    package var isTruncated: Bool { reports.count == reportsMax }

    /// Removes the reports so far, so that more can follow.
    package mutating func takeReports() -> [Report] {
        defer { reports = [] }
        return reports
    }

    /// The time of the machine, for callers that have no clock of a store.
    package static var systemTime: WallTime { QueueClock.system.wall() }

    // MARK: Input

    package mutating func received(_ chunk: UnsafeRawBufferPointer, now: WallTime) {
        if framer != nil { return feed(chunk, now: now) }
        guard !isTooLarge else { return }
        start.append(contentsOf: chunk)
        if !isOnePush { chooseFormat(isEnd: false) }
        if framer != nil {
            let first = start
            start = []
            first.withUnsafeBytes { feed($0, now: now) }
        } else if start.count > itemBytesMax {
            isTooLarge = true
            start = []
        }
    }

    package mutating func ended(now: WallTime) {
        if framer == nil, !isOnePush { chooseFormat(isEnd: true) }
        guard var framer else {
            if isTooLarge {
                process(.tooLarge, now: now)
            } else if start.contains(where: { $0 > 0x20 }) {
                start.withUnsafeBytes { process(.bytes($0), now: now) }
            }
            return
        }
        if !start.isEmpty { start.withUnsafeBytes { chunk in framer.feed(chunk) { process($0, now: now) } } }
        switch framer.end(isCutOff: false, { process($0, now: now) }) {
        case .clean, .notAnArray: break
        case .truncated: refuse(Refusal(.truncatedStream, .text("the body ends in the middle of this item")))
        case .trailing: refuse(Refusal(.invalidJSON, .text("the body has text after the end of the array")))
        }
    }

    /// Decides between the formats as soon as the bytes so far show it.
    private mutating func chooseFormat(isEnd: Bool) {
        if start.starts(with: ByteOrderMark.bytes) { start.removeFirst(ByteOrderMark.bytes.count) }
        // The rest of the mark may arrive with the next chunk.
        if !isEnd, !start.isEmpty, ByteOrderMark.bytes.starts(with: start) { return }
        guard let first = start.firstIndex(where: { $0 > 0x20 }) else { return }
        if start[first] == UInt8(ascii: "[") {
            framer = ItemFramer(format: .array, itemBytesMax: itemBytesMax)
        } else if format == .json {
            isOnePush = true
        } else if let end = start[first...].firstIndex(of: UInt8(ascii: "\n")) ?? (isEnd ? start.count : nil) {
            if Self.isValue(start[first..<end]) {
                framer = ItemFramer(format: .lines, itemBytesMax: itemBytesMax)
            } else {
                isOnePush = true
            }
        }
    }

    private static func isValue(_ line: ArraySlice<UInt8>) -> Bool {
        line.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            do throws(JSONError) {
                try reader.skipValue()
                try reader.finish()
                return true
            } catch {
                return false
            }
        }
    }

    private mutating func feed(_ chunk: UnsafeRawBufferPointer, now: WallTime) {
        // A copy, so that the closure can change the rest of the validator.
        guard var framer else { return }
        framer.feed(chunk) { process($0, now: now) }
        self.framer = framer
    }

    // MARK: Items

    private mutating func process(_ item: ItemFramer.Item, now: WallTime) {
        guard case .bytes(let bytes) = item else {
            refuse(Refusal(.itemTooLarge, .text("an item has at most \(itemBytesMax) bytes")))
            return
        }
        switch parser.parse(bytes, now: now) {
        case .refused(let refusal):
            var further = parser.refusedFindings
            // The refusal has the first finding of its rule; a rule may have several.
            if let index = further.firstIndex(where: { $0.code == refusal.rule }) { further.remove(at: index) }
            refuse(refusal, further: further)
        case .push(let push):
            let pushes = push.tokenCount == nil ? 1 : acceptTokens(in: bytes)
            accepted += pushes
            if push.isWarned {
                warned += pushes
                report(Report(index: index, token: nil, verdict: .warned(parser.findings(push, now: now))))
            }
            index += 1
        }
    }

    /// - Returns: the number of valid tokens.
    private mutating func acceptTokens(in bytes: UnsafeRawBufferPointer) -> Int {
        var cursor = parser.tokenCursor()
        var (token, valid) = (0, 0)
        while let next = parser.nextToken(&cursor, in: bytes) {
            switch next {
            case .token: valid += 1
            case .refused(let refusal):
                refused += 1
                report(Report(index: index, token: token, verdict: .refused(refusal)))
            }
            token += 1
        }
        return valid
    }

    private mutating func refuse(_ refusal: Refusal, further: [LintFinding] = []) {
        refused += 1
        report(Report(index: index, token: nil, verdict: .refused(refusal), further: further))
        index += 1
    }

    private mutating func report(_ report: Report) {
        if reports.count < reportsMax { reports.append(report) }
    }
}
