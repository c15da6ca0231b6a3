import APNSWire

/// `docs/reference/apns-reasons.md`, generated from the table of reasons.
enum ReasonsPage {
    static var markdown: String {
        var text = """
            # APNs reasons

            Every reason that APNs is known to give, from `APNSReason.advice` in the library `APNSWire`. Numbers are the stored form of a
            reason and never change.

            **Retry** says when the same push can be sent again. *After a fix* means that APNs would refuse it again until the named cause
            is corrected. **Fault** is the side that caused the refusal. An **invalid token** is no longer valid for this topic and
            environment: remove it, unless the app has registered it again since the `timestamp` of a 410.

            Apple asks providers to wait at least 15 minutes before a retry after a 500 or 503, and longer each time. After `Shutdown`,
            reconnect immediately. A 410 does not count against a connection; too many other refusals make APNs close it.

            This page is generated from the table in the code; a test compares the two. `GODWIT_UPDATE_DOCS=1 make test` regenerates it.

            """
        for (title, services) in [
            ("Pushes to devices", [APNSReason.Service.both, .devices]),
            ("Channels and broadcasts only", [.channels]),
        ] {
            text += "\n## \(title)\n\n"
            if services.contains(.both) {
                text += "The APIs for channels and broadcasts also give the reasons marked with \\*.\n\n"
            }
            text += "| status | reason | number | meaning | retry | fault | invalid token | what to do |\n"
            text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
            for reason in APNSReason.allCases where services.contains(reason.service) {
                guard let status = reason.status, let advice = reason.advice else { continue }
                let mark = reason.service == .both ? " \\*" : ""
                text += "| \(status) | `\(reason)`\(mark) | \(reason.rawValue) | \(row(advice))\n"
            }
        }
        text += """

            ## Without a known reason

            New reasons appear on the wire before they are documented, and a body can be empty or not JSON. The status decides in these cases.

            | status | meaning | retry | fault | invalid token | what to do |
            | --- | --- | --- | --- | --- | --- |

            """
        for (title, status) in [
            ("403", 403), ("410", 410), ("413", 413), ("429", 429), ("other 4xx", 400), ("5xx", 500),
            ("any other", 302),
        ] as [(String, UInt16)] {
            text += "| \(title) | \(row(ReasonAdvice.advice(status: status, reason: .unknown)))\n"
        }
        return text
    }

    private static func row(_ advice: ReasonAdvice) -> String {
        let wait =
            advice.retryDelayMin == .zero
            ? "" : ", after at least \(advice.retryDelayMin.components.seconds / 60) minutes"
        let isTokenInvalid = advice.isTokenInvalid ? "yes" : "no"
        return
            "\(advice.meaning) | \(advice.retry.rawValue)\(wait) | \(advice.fault.rawValue) | \(isTokenInvalid) | \(advice.action) |"
    }
}
