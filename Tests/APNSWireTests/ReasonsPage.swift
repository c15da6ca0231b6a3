import APNSWire

/// `docs/reasons.md`, made from the table of reasons.
enum ReasonsPage {
    static var markdown: String {
        var text = """
            # What APNs says, and what to do

            Every reason that APNs is known to give, from `APNSReason.advice` in the library `APNSWire`. Numbers are the stored form of a
            reason and never change.

            **Retry** says when the same push can be sent again. *After a fix* means that it would be refused again until what the
            reason names is put right. **Fault** says whose fault it is. A **dead token** is of no more use for this topic and
            environment: remove it, unless the app has registered it again since the `timestamp` of a 410.

            Apple asks to wait at least 15 minutes before a retry after a 500 or 503, and longer each time; after `Shutdown` it is usual
            to connect again at once. A 410 does not count against a connection; too many other refusals make APNs close it.

            This page is made from the code's own table; a test compares the two.

            """
        for (title, services) in [
            ("Pushes to devices", [APNSReason.Service.both, .devices]),
            ("Channels and broadcasts only", [.channels]),
        ] {
            text += "\n## \(title)\n\n"
            if services.contains(.both) {
                text += "Those marked with \\* are given by the APIs for channels and broadcasts too.\n\n"
            }
            text += "| status | reason | number | meaning | retry | fault | dead token | what to do |\n"
            text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
            for reason in APNSReason.allCases where services.contains(reason.service) {
                guard let status = reason.status, let advice = reason.advice else { continue }
                let mark = reason.service == .both ? " \\*" : ""
                text += "| \(status) | `\(reason)`\(mark) | \(reason.rawValue) | \(row(advice))\n"
            }
        }
        text += """

            ## Without a known reason

            New reasons appear on the wire before they are documented, and a body can be empty or no JSON. The status decides then.

            | status | meaning | retry | fault | dead token | what to do |
            | --- | --- | --- | --- | --- | --- |

            """
        for (title, status) in [
            ("403", 403), ("410", 410), ("413", 413), ("429", 429), ("other 4xx", 400), ("5xx", 500),
            ("anything else", 302),
        ] as [(String, UInt16)] {
            text += "| \(title) | \(row(ReasonAdvice.advice(status: status, reason: .unknown)))\n"
        }
        return text
    }

    private static func row(_ advice: ReasonAdvice) -> String {
        let wait = advice.retryDelayMin == 0 ? "" : ", from \(advice.retryDelayMin / 60) minutes on"
        let isDead = advice.isTokenDead ? "yes" : "no"
        return
            "\(advice.meaning) | \(advice.retry.rawValue)\(wait) | \(advice.fault.rawValue) | \(isDead) | \(advice.action) |"
    }
}
