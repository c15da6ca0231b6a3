/// One thing that is wrong with a push.
public struct LintFinding: Sendable, Hashable {
    /// How bad it is.
    public enum Severity: Sendable, CaseIterable, Hashable {
        /// APNs refuses it, or nothing can come of it.
        case error
        /// It is likely to do something else than was meant.
        case warning
    }

    public var code: LintCode
    public var severity: Severity
    /// One sentence. Names keys of Apple's and numbers, and nothing else of the push: no token, no text, no key of the app.
    public var message: String
    /// One sentence.
    public var advice: String { code.advice }

    public init(_ code: LintCode, _ message: String, severity: Severity? = nil) {
        self.code = code
        self.message = message
        self.severity = severity ?? code.severity
    }
}

extension LintFinding: CustomStringConvertible {
    public var description: String { "\(severity) \(code.rawValue): \(message) \(advice)" }
}

/// Names everything that is wrong with a push before it is sent.
///
/// Pure, and meant for development and for looking at single pushes: APNs does not document that it checks more than the
/// header and the size, so a push with findings may well be accepted with 200, and then do nothing.
/// The rules are those of the pages that `PushType`, `APS` and `LiveActivityContent` name.
public enum NotificationLint {
    /// Where the push goes.
    public enum Target: Sendable, Hashable {
        /// `/3/device`. The length of the token in bytes, if it is known.
        case device(tokenBytes: Int?)
        /// `/4/broadcasts`. The policy of the channel, if it is known.
        case channel(ChannelStoragePolicy?)
    }

    /// What the sender proves itself by.
    public enum Authentication: Sendable, CaseIterable, Hashable {
        case providerToken, certificate
    }

    /// What is wrong with a push that is given in its parts.
    ///
    /// - Parameters:
    ///   - headers: for a channel the topic stands for the bundle ID of the path.
    ///   - expiration: the value of `apns-expiration`, unchecked; nil without the header.
    ///   - authentication: nil when it is not known; its rules are left out then.
    ///   - bundleID: of the app, without suffix, if it is known. Without it a suffix that looks wrong is only a warning
    ///     where a bundle ID could end in the same way.
    /// - Returns: what is wrong with the header first, then with the body; empty when all is well.
    public static func findings(
        headers: NotificationHeaders, expiration: Int64?, payload: UnsafeRawBufferPointer, now: UNIXTime,
        target: Target = .device(tokenBytes: nil), authentication: Authentication? = nil, bundleID: String? = nil
    ) -> [LintFinding] {
        var header = HeaderLint(
            headers: headers, expiration: expiration, now: now.secondsSince1970, target: target,
            authentication: authentication,
            bundleID: bundleID
        )
        header.run()
        var body = PayloadLint(headers, target: target)
        body.run(payload)
        return header.findings + body.findings
    }

    /// As above, for one push to a device.
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
