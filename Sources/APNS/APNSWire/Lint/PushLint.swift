package import JSONText

/// Applies the rules of `NotificationLint` to many pushes to devices, of which most have no mistake and many the same
/// payload.
///
/// The payload is read once, for its JSON and for the rules together. A payload that equals the one before is compared
/// instead, and its findings are kept.
package struct PushLint {
    /// A push without its payload.
    package struct Push {
        package var pushType: PushType
        package var priority: Priority?
        package var collapseID: String?
        /// The topic that the sender chose; nil: the bundle ID with the suffix of the type.
        package var topic: String?
        /// nil: not known.
        package var bundleID: String?
        /// The value of `apns-expiration`; nil: none.
        package var expiration: Int64?

        package init(
            pushType: PushType, priority: Priority?, collapseID: String?, topic: String?, bundleID: String?,
            expiration: Int64?
        ) {
            self.pushType = pushType
            self.priority = priority
            self.collapseID = collapseID
            self.topic = topic
            self.bundleID = bundleID
            self.expiration = expiration
        }

        fileprivate var isPass: Bool { topic.map { PayloadLint.isPass(pushType, topic: $0) } ?? false }

        fileprivate func headers() -> HeaderLint.Headers {
            HeaderLint.Headers(pushType: pushType, topic: topic, priority: priority, collapseID: collapseID)
        }
    }

    /// Larger payloads are not kept for comparison; APNs refuses them.
    private static let payloadBytesMax = PushType.voip.payloadBytesMax

    private var scan = PayloadScan()
    /// The text of the payload that `scan` describes; empty if it is too large.
    private var payload: [UInt8] = []
    /// Length of that payload in bytes.
    private var payloadBytes = 0
    /// The type and topic for which `payloadCodes` holds.
    private var checked: (type: PushType, isPass: Bool)?
    private var payloadCodes: [LintCode] = []
    /// A type and priority without findings in a push that has no other header.
    private var plain: (type: PushType, priority: Priority?)?

    package init() {}

    /// Validates and skips the object that follows in `reader`: the payload of the next push.
    ///
    /// - Returns: the range of the payload in the bytes of `reader`.
    package mutating func readPayload(_ reader: inout JSONReader) throws(JSONError) -> Range<Int> {
        if let range = payload.withUnsafeBytes({ reader.skipKnown($0) }) { return range }
        payload.removeAll(keepingCapacity: true)
        checked = nil
        let range = try scan.readObject(&reader)
        payloadBytes = range.count
        if range.count <= Self.payloadBytesMax {
            payload.append(contentsOf: UnsafeRawBufferPointer(rebasing: reader.bytes[range]))
        }
        return range
    }

    /// Whether a push whose payload is the last one read violates no rule: a quick check before `check`, for a push
    /// without a topic, collapse ID and expiration of its own.
    ///
    /// - Returns: false also if `check` must decide.
    package mutating func isClean(_ type: PushType, _ priority: Priority?) -> Bool {
        guard let plain, plain.type == type, plain.priority == priority else { return false }
        return codes(of: type, isPass: false).isEmpty
    }

    /// The rules that the payload violates.
    private mutating func codes(of type: PushType, isPass: Bool) -> [LintCode] {
        if checked?.type != type || checked?.isPass != isPass {
            payloadCodes = payloadReport(type, isPass: isPass, LintReport(wantsFindings: false)).codes
            checked = (type, isPass)
        }
        return payloadCodes
    }

    /// Checks a push whose payload is the last one read.
    ///
    /// - Returns: the violated rules, without texts; nil if there are none.
    package mutating func check(_ push: Push, now: UNIXTime) -> LintReport? {
        var report = LintReport(wantsFindings: false)
        let isPlain = push.topic == nil && push.collapseID == nil && push.expiration == nil && push.pushType != .mdm
        if !isPlain || plain?.type != push.pushType || plain?.priority != push.priority {
            report = headerReport(push, now, wantsFindings: false)
            if isPlain, report.isEmpty { plain = (push.pushType, push.priority) }
        }
        report.add(codes(of: push.pushType, isPass: push.isPass))
        return report.isEmpty ? nil : report
    }

    /// The same as `check`, with texts.
    package func findings(_ push: Push, now: UNIXTime) -> [LintFinding] {
        payloadReport(push.pushType, isPass: push.isPass, headerReport(push, now, wantsFindings: true)).findings
    }

    private func headerReport(_ push: Push, _ now: UNIXTime, wantsFindings: Bool) -> LintReport {
        var bundleID = push.bundleID
        // Another topic may be that of an extension, an App Clip or another app of the team.
        if let topic = push.topic, let known = bundleID, !HeaderLint.isTopic(topic, of: known) { bundleID = nil }
        var lint = HeaderLint(
            headers: push.headers(), expiration: push.expiration, now: now.secondsSince1970,
            target: .device(tokenBytes: nil), authentication: nil, bundleID: bundleID,
            report: LintReport(wantsFindings: wantsFindings)
        )
        lint.run()
        return lint.report
    }

    private func payloadReport(_ type: PushType, isPass: Bool, _ report: LintReport) -> LintReport {
        var lint = PayloadLint(type, isPass: isPass, target: .device(tokenBytes: nil), scan: scan, report: report)
        lint.run(bytes: payloadBytes)
        return lint.report
    }
}
