import Foundation
import PushTesting
import Testing

@Suite struct `The target graph` {
    @Test func `is the table of module dependencies`() async throws {
        let table = try DependencyTable(markdown: text(of: "docs/explanation/architecture.md"))
        let package = try await PackageDescription.current()
        #expect(
            Set(table.rows.map(\.module)) == Set(package.modules.map(\.module)),
            "modules of the table, modules of Package.swift")
        for module in package.modules {
            let row = table.rows.first { $0.module == module.module }
            #expect(row?.imports == module.imports, "imports of \(module.module) from this package")
            #expect(row?.products == module.products, "imports of \(module.module) from other packages")
        }
    }

    @Test func `points down only`() throws {
        let table = try DependencyTable(markdown: text(of: "docs/explanation/architecture.md"))
        #expect(table.upwardDependencies() == [])
    }

    @Test func `the client and the simulator do not depend on each other`() async throws {
        let package = try await PackageDescription.current()
        #expect(!package.reachable(from: "APNSKit").contains("APNSSimulator"))
        #expect(!package.reachable(from: "APNSSimulator").contains("APNSKit"))
        for module in ["APNSKit", "APNSSimulator"] {
            #expect(
                package.reachable(from: module).filter { $0.hasPrefix("Push") } == [],
                "\(module) does not depend on the gateway")
        }
    }

    @Test func `the libraries need few packages, and all others belong to a trait`() async throws {
        let package = try await PackageDescription.current()
        #expect(
            package.packages(traits: []) == [
                "swift-asn1", "swift-certificates", "swift-crypto", "swift-log", "swift-nio", "swift-nio-ssl", "Yams",
            ])
        #expect(
            package.packages(traits: ["ServiceLifecycleSupport"]).subtracting(package.packages(traits: []))
                == ["swift-service-lifecycle"])
        #expect(package.packages(traits: ["Gateway"]).isSuperset(of: ["GRDB.swift", "hummingbird", "swift-protobuf"]))
    }

    @Test func `a dependency that points up is found`() throws {
        let table = try DependencyTable(
            markdown: """
                ## Module dependencies

                | module | imports | from other packages |
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
struct Module: Equatable {
    var module: String
    /// Targets of this package.
    var imports: Set<String>
    /// Products of other packages.
    var products: Set<String>
}

/// The table below the heading "Module dependencies".
struct DependencyTable {
    var rows: [Module] = []

    init(markdown: String) throws {
        let lines = markdown.split(separator: "\n", omittingEmptySubsequences: false)
        let start = try #require(lines.firstIndex { $0.hasPrefix("#") && $0.hasSuffix("Module dependencies") })
        var isInside = false
        for line in lines[(start + 1)...] {
            guard line.hasPrefix("|") else {
                if isInside || line.hasPrefix("#") { break }
                continue
            }
            isInside = true
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            let names = cells.map { cell in Set(cell.matches(of: /`([\w-]+)`/).map { String($0.1) }) }
            guard names.count == 3, let module = names[0].first else { continue }
            rows.append(Module(module: module, imports: names[1], products: names[2]))
        }
    }

    /// Dependencies on a module that is not further down.
    func upwardDependencies() -> [String] {
        rows.enumerated().flatMap { index, row in
            let below = Set(rows[(index + 1)...].map(\.module))
            return row.imports.subtracting(below).sorted().map { "\(row.module) → \($0)" }
        }
    }
}

/// The output of `swift package dump-package`; unlike `describe` it needs no other package.
struct PackageDescription {
    var modules: [Module]
    /// The packages that targets name, test targets included, and the traits of which one must be enabled; none means
    /// always.
    private var uses: [(package: String, traits: Set<String>)]

    static func current() async throws -> PackageDescription {
        // A separate scratch folder, because the running `swift test` holds the lock of the default one.
        let scratch = try TemporaryFolder()
        let result = try await run(
            "swift", ["package", "--scratch-path", scratch.path, "dump-package"], folder: Repository.root
        )
        try #require(result.exit == .status(0), "\(result.error)")
        let dump = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        )
        let targets = try #require(dump["targets"] as? [[String: Any]])
        return PackageDescription(
            modules: targets.filter { $0["type"] as? String != "test" }.compactMap(module),
            uses: targets.flatMap(uses(of:)))
    }

    /// The packages that are resolved with these traits.
    func packages(traits: Set<String>) -> Set<String> {
        Set(uses.filter { $0.traits.isEmpty || !$0.traits.isDisjoint(with: traits) }.map(\.package))
    }

    private static func uses(of target: [String: Any]) -> [(package: String, traits: Set<String>)] {
        (target["dependencies"] as? [[String: Any]] ?? []).compactMap { dependency in
            guard let words = dependency["product"] as? [Any], words.count > 3, let package = words[1] as? String else {
                return nil
            }
            return (package, Set((words[3] as? [String: Any])?["traits"] as? [String] ?? []))
        }
    }

    /// Everything that a module depends on, directly or not.
    func reachable(from module: String) -> Set<String> {
        var seen: Set<String> = []
        var waiting = [module]
        while let next = waiting.popLast() {
            for name in modules.first(where: { $0.module == next })?.imports ?? [] where seen.insert(name).inserted {
                waiting.append(name)
            }
        }
        return seen
    }

    private static func module(_ target: [String: Any]) -> Module? {
        guard let name = target["name"] as? String, let dependencies = target["dependencies"] as? [[String: Any]]
        else { return nil }
        var module = Module(module: name, imports: [], products: [])
        for dependency in dependencies {
            if let words = dependency["product"] as? [Any], let product = words.first as? String {
                module.products.insert(product)
            } else if let words = (dependency["byName"] ?? dependency["target"]) as? [Any],
                let target = words.first as? String
            {
                module.imports.insert(target)
            }
        }
        return module
    }
}
