import APNSWire

/// `docs/reference/lint-rules.md`, generated from the rules and their examples.
enum LintPage {
    static var markdown: String {
        var text = """
            # Lint rules

            The rules that the gateway checks before it accepts a push, and that `godwit lint` and the library `APNSWire` check without
            sending one. Names never change. [How the gateway uses them](http-api.md#lint).

            **Refused**: APNs would answer with an error, so the gateway refuses the push with 3031. **Warning**: APNs would accept the push,
            and the device would ignore it or show something else. Rules about channels and credentials apply in the library only. A payload
            that is not a JSON object does not reach the rules: the gateway refuses it with 2020 or 3007, and one that is too large for APNs with 3006.

            This page is generated from the rules in the code; a test compares the two. `GODWIT_UPDATE_DOCS=1 make test` regenerates it.

            | rule | effect | example of a finding | what to do |
            | --- | --- | --- | --- |

            """
        for code in LintCode.allCases {
            let example = LintCase.all.first { $0.code == code }?.bad.findings.first?.message ?? ""
            text +=
                "| `\(code.rawValue)` | \(code.isRefusedByAPNs ? "refused" : "warning") | \(example) | \(code.advice) |\n"
        }
        return text
    }
}
