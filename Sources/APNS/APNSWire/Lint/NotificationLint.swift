/// One mistake in a push.
public struct LintFinding: Sendable, Hashable {
    /// How serious a finding is.
    public enum Severity: Sendable, CaseIterable, Hashable {
        /// APNs refuses the push, or the push has no effect.
        case error
        /// The push probably does not do what the sender intends.
        case warning
    }

    public var code: LintCode
    public var severity: Severity
    /// The key and what is wrong with it, in lower case, without a full stop.
    ///
    /// Contains only Apple's keys and numbers: no token, no text and no custom key of the push.
    public var message: String
    /// How to correct the push, in lower case, without a full stop.
    public var advice: String { code.advice }

    /// Whether APNs answers such a push with an error.
    package var isRefusedByAPNs: Bool { code.isRefusedByAPNs && severity == .error }

    public init(_ code: LintCode, _ message: String, severity: Severity? = nil) {
        self.code = code
        self.message = message
        self.severity = severity ?? code.severity
    }
}

extension LintFinding: CustomStringConvertible {
    /// `error topic-empty: <message>; <advice>`.
    public var description: String { "\(severity) \(code.rawValue): \(message); \(advice)" }
}

/// Finds mistakes in a push before it is sent.
///
/// Pure, and meant for development and for inspecting single pushes. APNs documents checks of the header and the size
/// only, so it may accept a push with findings with 200, and the push then has no effect. The rules come from the pages
/// cited by `PushType`, `APS` and `LiveActivityContent`.
public enum NotificationLint {
    /// The destination of a push.
    public enum Target: Sendable, Hashable {
        /// `/3/device`, with the length of the token in bytes, if known.
        case device(tokenBytes: Int?)
        /// `/4/broadcasts`, with the storage policy of the channel, if known.
        case channel(ChannelStoragePolicy?)
    }

    /// The kind of credential that authenticates the sender.
    public enum Authentication: Sendable, CaseIterable, Hashable {
        case providerToken, certificate
    }

    /// Checks a push given in parts.
    ///
    /// - Parameters:
    ///   - headers: for a channel, `topic` is the bundle ID of the path.
    ///   - expiration: the value of `apns-expiration`, unchecked; nil if the header is absent.
    ///   - authentication: nil if not known, which skips the rules about credentials.
    ///   - bundleID: the app's bundle ID without suffix, if known. Otherwise a wrong suffix is only a warning if the
    ///     bundle ID itself could end that way.
    /// - Returns: the findings, those about the header first; empty if the push is correct.
    public static func findings(
        headers: NotificationHeaders, expiration: Int64?, payload: UnsafeRawBufferPointer, now: UNIXTime,
        target: Target = .device(tokenBytes: nil), authentication: Authentication? = nil, bundleID: String? = nil
    ) -> [LintFinding] {
        var header = HeaderLint(
            headers: HeaderLint.Headers(
                pushType: headers.pushType, topic: headers.topic, priority: headers.priority,
                collapseID: headers.collapseID),
            expiration: expiration, now: now.secondsSince1970, target: target, authentication: authentication,
            bundleID: bundleID, report: LintReport(wantsFindings: true)
        )
        header.run()
        var scan = PayloadScan()
        if !payload.isEmpty { scan.read(payload) }
        var body = PayloadLint(
            headers.pushType, isPass: PayloadLint.isPass(headers.pushType, topic: headers.topic), target: target,
            scan: scan, report: header.report)
        body.run(bytes: payload.count)
        return body.report.findings
    }

    /// Checks one push to a device, as the other overload does.
    public static func findings(
        _ notification: APNSNotification, now: UNIXTime, authentication: Authentication? = nil, bundleID: String? = nil
    ) -> [LintFinding] {
        notification.payload.withUnsafeBytes { payload in
            findings(
                headers: notification.headers, expiration: notification.expiration.headerValue, payload: payload,
                now: now,
                target: .device(tokenBytes: notification.deviceToken.bytes.count), authentication: authentication,
                bundleID: bundleID
            )
        }
    }
}
