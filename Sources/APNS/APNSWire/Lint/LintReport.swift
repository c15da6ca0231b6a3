/// What the rules found in one push.
package struct LintReport: Sendable {
    /// Whether `findings` is filled. Most callers need the texts of few pushes.
    private let wantsFindings: Bool
    /// The rules that the push violates, in the order in which they were checked.
    package private(set) var codes: [LintCode] = []
    package private(set) var findings: [LintFinding] = []
    /// The first rule whose violation APNs answers with an error.
    package private(set) var refusal: LintCode?

    init(wantsFindings: Bool) {
        self.wantsFindings = wantsFindings
    }

    package var isEmpty: Bool { codes.isEmpty }

    mutating func add(_ code: LintCode, _ message: @autoclosure () -> String, severity: LintFinding.Severity?) {
        codes.append(code)
        if refusal == nil, code.isRefusedByAPNs, severity ?? code.severity == .error { refusal = code }
        if wantsFindings { findings.append(LintFinding(code, message(), severity: severity)) }
    }

    /// Adds violations whose texts are not wanted.
    mutating func add(_ codes: [LintCode]) {
        guard !codes.isEmpty else { return }
        self.codes += codes
    }
}
