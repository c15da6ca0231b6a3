import APNSSimulator
import Foundation
import PushTesting
import Testing

@Suite struct `Phone page` {
    static let root = URL(filePath: Repository.root)

    @Test(arguments: [
        ("/", "page.html", "text/html"), ("/page.css", "page.css", "text/css"),
        ("/page.js", "page.js", "text/javascript"),
    ])
    func `its files are served unchanged, with a restrictive content security policy`(
        path: String, file: String, type: String
    ) async throws {
        let source = Self.root.appending(path: "Sources/APNS/APNSSimulator/Page/\(file)")
        let text = try String(contentsOf: source, encoding: .utf8)
        try await RunningSimulator.with { running in
            let response = try await running.request("GET", path)
            #expect(response.status == 200)
            #expect(response.body == text, "run scripts/embed-page.sh and build again")
            #expect(response.headers["content-type"] == "\(type); charset=utf-8")
            #expect(response.headers["x-content-type-options"] == "nosniff")
            #expect(response.headers["cross-origin-resource-policy"] == "same-origin")
            let policy = response.headers["content-security-policy"] ?? ""
            for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
                #expect(policy.contains(part), "\(policy)")
            }
            #expect(!policy.contains("unsafe") && !policy.contains("*"))
        }
    }

    @Test func `it contains no HTML sinks and no external addresses`() throws {
        let folder = Self.root.appending(path: "Sources/APNS/APNSSimulator/Page")
        for file in ["page.html", "page.css", "page.js"] {
            let text = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
            for sink in [
                "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc",
            ] {
                #expect(!text.contains(sink), "\(file): \(sink)")
            }
            // The only address is the SVG namespace.
            let addresses = text.matches(of: /https?:\/\/[^\s"'%]+/).map { String($0.output) }
            #expect(Set(addresses).subtracting(["http://www.w3.org/2000/svg"]).isEmpty, "\(file): \(addresses)")
        }
    }

    /// Stores screenshots in `.build/tests/phone-page`, also of a failure.
    @Test func `it shows pushes in a browser as they arrive`() async throws {
        let folder = Self.root.appending(path: "Tests/APNSSimulatorTests/Browser")
        let pictures = Self.root.appending(path: ".build/tests/phone-page")
        try FileManager.default.createDirectory(at: pictures, withIntermediateDirectories: true)
        let made = try await run("bash", [folder.appending(path: "environment.sh").path], within: .seconds(600))
        try #require(made.exit == .status(0), "\(made.error)")
        let python = made.output.trimmingCharacters(in: .whitespacesAndNewlines)
        try await RunningSimulator.with { running in
            let result = try await run(
                python, ["-B", folder.appending(path: "page_checks.py").path],
                environment: [
                    "GODWIT_APNS": running.url(""), "GODWIT_CONTROL": running.control(""),
                    "GODWIT_AUTHORITY": running.authority, "GODWIT_PROVIDER_TOKEN": try running.token(),
                    "GODWIT_PICTURES": pictures.path,
                ], within: .seconds(600)
            )
            #expect(result.exit == .status(0), "\(result.output)\(result.error)")
            #expect(result.output.contains("ok: a reset empties the page"), "\(result.output)")
        }
    }
}
