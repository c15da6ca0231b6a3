import Foundation
import PushTesting
import Testing

@Suite struct `The target graph` {
    @Test func `is the table in docs ARCHITECTURE`() async throws {
        let table = try DependencyTable(markdown: text(of: "docs/ARCHITECTURE.md"))
        let package = try await PackageDescription.current()
        #expect(
            Set(table.rows.map(\.capacity)) == Set(package.rooms.map(\.capacity)),
            "rooms of the table, rooms of Package.swift")
        for capacity in package.rooms {
            let row = table.rows.first { $0.capacity == capacity.capacity }
            #expect(row?.imports == capacity.imports, "what \(capacity.capacity) imports of this package")
            #expect(row?.products == capacity.products, "what \(capacity.capacity) imports of other packages")
        }
    }

    @Test func `points down only`() throws {
        let table = try DependencyTable(markdown: text(of: "docs/ARCHITECTURE.md"))
        #expect(table.upwardDependencies() == [])
    }

    @Test func `the client and the simulator do not know each other`() async throws {
        let package = try await PackageDescription.current()
        #expect(!package.reachable(from: "APNSKit").contains("APNSSimulator"))
        #expect(!package.reachable(from: "APNSSimulator").contains("APNSKit"))
        for capacity in ["APNSKit", "APNSSimulator"] {
            #expect(
                package.reachable(from: capacity).filter { $0.hasPrefix("Push") } == [], "\(capacity) knows no gateway")
        }
    }

    @Test func `an arrow that points up is found`() throws {
        let table = try DependencyTable(
            markdown: """
                ## Allowed arrows

                | capacity | imports | from other packages |
                | --- | --- | --- |
                | `Top` | `Bottom` | – |
                | `Bottom` | `Top` | `NIOCore` |
                """
        )
        #expect(table.upwardDependencies() == ["Bottom → Top"])
        #expect(table.rows[1].products == ["NIOCore"])
    }

    private func text(of path: String) throws -> String {
        try String(contentsOfFile: "\(Repository.root)/\(path)", encoding: .utf8)
    }
}

/// A target and what it may import.
struct Room: Equatable {
    var capacity: String
    /// Targets of this package.
    var imports: Set<String>
    /// Products of other packages.
    var products: Set<String>
}

/// The table below the heading "Allowed arrows".
struct DependencyTable {
    var rows: [Room] = []

    init(markdown: String) throws {
        let lines = markdown.split(separator: "\n", omittingEmptySubsequences: false)
        let start = try #require(lines.firstIndex { $0.hasPrefix("#") && $0.hasSuffix("Allowed arrows") })
        var isInside = false
        for line in lines[(start + 1)...] {
            guard line.hasPrefix("|") else {
                if isInside || line.hasPrefix("#") { break }
                continue
            }
            isInside = true
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            let names = cells.map { cell in Set(cell.matches(of: /`(\w+)`/).map { String($0.1) }) }
            guard names.count == 3, let capacity = names[0].first else { continue }
            rows.append(Room(capacity: capacity, imports: names[1], products: names[2]))
        }
    }

    /// Arrows to a room that does not stand further down.
    func upwardDependencies() -> [String] {
        rows.enumerated().flatMap { index, row in
            let below = Set(rows[(index + 1)...].map(\.capacity))
            return row.imports.subtracting(below).sorted().map { "\(row.capacity) → \($0)" }
        }
    }
}

/// What `swift package dump-package` says; unlike `describe` it needs no other package.
struct PackageDescription {
    var rooms: [Room]

    static func current() async throws -> PackageDescription {
        // A scratch folder of its own: the running `swift test` holds the lock of the usual one.
        let scratch = try TemporaryFolder()
        let result = try await run(
            "swift", ["package", "--scratch-path", scratch.path, "dump-package"], folder: Repository.root
        )
        try #require(result.exit == .status(0), "\(result.error)")
        let dump = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        )
        let targets = try #require(dump["targets"] as? [[String: Any]])
        return PackageDescription(rooms: targets.filter { $0["type"] as? String != "test" }.compactMap(capacity))
    }

    /// Everything that a room sees, directly or not.
    func reachable(from capacity: String) -> Set<String> {
        var seen: Set<String> = []
        var waiting = [capacity]
        while let next = waiting.popLast() {
            for name in rooms.first(where: { $0.capacity == next })?.imports ?? [] where seen.insert(name).inserted {
                waiting.append(name)
            }
        }
        return seen
    }

    private static func capacity(_ target: [String: Any]) -> Room? {
        guard let name = target["name"] as? String, let dependencies = target["dependencies"] as? [[String: Any]]
        else { return nil }
        var capacity = Room(capacity: name, imports: [], products: [])
        for dependency in dependencies {
            if let words = dependency["product"] as? [Any], let product = words.first as? String {
                capacity.products.insert(product)
            } else if let words = (dependency["byName"] ?? dependency["target"]) as? [Any],
                let target = words.first as? String
            {
                capacity.imports.insert(target)
            }
        }
        return capacity
    }
}
