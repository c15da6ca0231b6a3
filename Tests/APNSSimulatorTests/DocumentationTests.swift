import APNSSimulator
import Foundation
import Testing

/// Compares `docs/simulator/README.md` with the simulator.
@Suite struct `Simulator documentation` {
    private struct Block {
        var language: String
        var text: String
    }

    private static func page() throws -> String {
        try String(contentsOf: ForeignClients.root.appending(path: "docs/simulator/README.md"), encoding: .utf8)
    }

    private static func blocks(_ language: String) throws -> [Block] {
        var blocks: [Block] = []
        var open: Block?
        for line in try page().components(separatedBy: "\n") {
            if line.hasPrefix("```") {
                if let block = open { blocks.append(block) }
                open = open == nil ? Block(language: String(line.dropFirst(3)), text: "") : nil
            } else {
                open?.text += line + "\n"
            }
        }
        return blocks.filter { $0.language == language }
    }

    @Test func `the simulator accepts every YAML block`() async throws {
        let blocks = try Self.blocks("yaml")
        #expect(blocks.count == 2)
        try await RunningSimulator.with { running in
            for block in blocks {
                let path = block.text.hasPrefix("rules:") ? "/faults" : "/scenario"
                let response = try await running.request("PUT", path, body: block.text)
                #expect(response.status == 204, "\(response.body)")
            }
        }
    }

    @Test func `every curl line works, and every route has one`() async throws {
        let lines = try Self.blocks("sh").flatMap { $0.text.split(separator: "\n").map(String.init) }
        #expect(lines.count >= 17 && lines.allSatisfy { $0.hasPrefix("curl ") })
        try await RunningSimulator.with { running in
            for line in lines {
                let command = line.replacing("http://127.0.0.1:8444", with: running.control(""))
                let result = try await Command.run("sh", ["-c", command])
                #expect(result.status == 0, "\(line): \(result.output) \(result.errors)")
            }
        }
        for line in try Self.page().split(separator: "\n") where line.hasPrefix("| `") && line.contains(" /") {
            for match in line.split(separator: "|")[0].matches(of: /(GET|PUT|POST|DELETE) (\/[a-z]+)/) {
                let (method, path) = (String(match.1), String(match.2))
                let wanted = method == "GET" ? path : "-X \(method) http://127.0.0.1:8444\(path)"
                #expect(lines.contains { $0.contains(wanted) }, "no curl line for \(method) \(path)")
            }
        }
    }

    @Test func `every switch, action and scenario is listed in its table`() async throws {
        let page = try Self.page()
        try await RunningSimulator.with { running in
            let body = try await running.request("GET", "/settings").body
            let object = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
            #expect(object.count == 24)
            for name in object.keys { #expect(page.contains("| `\(name)` |"), "\(name)") }
        }
        for file in Scenario.builtInFiles { #expect(page.contains("| `\(file.name)` |"), "\(file.name)") }
        let actions = [
            "accept", "answer", "stall", "reset", "goaway", "settings", "black-hole", "ignore-pings", "wedge",
        ]
        for action in actions { #expect(page.contains("| `\(action)` |"), "\(action)") }
    }
}
