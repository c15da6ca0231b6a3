import APNSWire
import ArgumentParser
import NIOCore
import PushAccept
import PushModel

/// Checks a file of pushes without a gateway.
struct LintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lint",
        abstract: "Check pushes without sending them.",
        discussion: """
            The file has one push, an array of pushes, or one push per line, as for POST /push and POST /push/batch; - is \
            standard input. No gateway is needed. Names of apps are not checked, and topics only against --bundle-id.

              godwit lint push.json
              godwit lint --bundle-id com.example.app --strict pushes.ndjson
              generate-pushes | godwit lint -

            Exit status: 0 if a gateway would accept every push, 1 if it would refuse one (with --strict: or warn) or the \
            file cannot be read, 2 if the command line is wrong.
            """
    )

    @Argument(help: "File of pushes; - is standard input.")
    var file: String

    @Option(help: "Bundle ID of the app, for the rules about topics.")
    var bundleID: String?

    @Flag(help: "Treat warnings as refusals, as the gateway does with strict=true.")
    var strict = false

    func validate() throws {
        if bundleID?.isEmpty ?? false { throw ValidationError("--bundle-id must not be empty") }
    }

    func run() async throws {
        let source = try PushSource(path: file)
        var validator = PushValidator(
            apps: AppDirectory(anyAppWithBundleID: bundleID), format: .automatic, strict: strict, reportsMax: .max)
        for try await chunk in source {
            chunk.withUnsafeReadableBytes { validator.received($0, now: PushValidator.systemTime) }
            write(validator.takeReports())
        }
        validator.ended(now: PushValidator.systemTime)
        write(validator.takeReports())
        let pushes = validator.accepted + validator.refused
        guard pushes > 0 else { throw CommandError("\(name) has no push") }
        var summary = pushes == 1 ? "1 push" : "\(pushes.grouped) pushes"
        summary += ": \(validator.refused.grouped) refused, \(validator.warned.grouped) with warnings"
        Terminal.writeOutput(summary)
        if validator.refused > 0 { throw ExitCode.failure }
    }

    private var name: String { file == "-" ? "standard input" : file }

    private func write(_ reports: [PushValidator.Report]) {
        for report in reports {
            let token = report.token.map { ", token \($0 + 1)" } ?? ""
            let place = "\(name): push \(report.index + 1)\(token)"
            switch report.verdict {
            case .refused(let refusal):
                let rule = refusal.rule?.rawValue ?? refusal.code.entry.name
                Terminal.writeOutput("\(place): refused (\(rule)): \(refusal.text)")
                for finding in report.further {
                    Self.write(finding, as: strict || finding.isRefusedByAPNs ? "refused" : "warning", of: place)
                }
            case .warned(let findings):
                for finding in findings { Self.write(finding, as: "warning", of: place) }
            }
        }
    }

    private static func write(_ finding: LintFinding, as kind: String, of place: String) {
        Terminal.writeOutput("\(place): \(kind) (\(finding.code.rawValue)): \(finding.message); \(finding.advice)")
    }
}
