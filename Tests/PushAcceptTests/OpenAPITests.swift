import Foundation
import PushAccept
import Testing
import Yams

/// `docs/reference/openapi.yaml` describes the routes that the gateway serves.
@Suite struct `The OpenAPI document` {
    private static func document() throws -> [String: Any] {
        let file = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("docs/reference/openapi.yaml")
        return try #require(try Yams.load(yaml: String(contentsOf: file, encoding: .utf8)) as? [String: Any])
    }

    private static let methods: Set = ["get", "post", "put", "patch", "delete"]

    @Test func `has exactly the routes of the gateway`() async throws {
        let paths = try #require(try Self.document()["paths"] as? [String: [String: Any]])
        let described = Set(
            paths.flatMap { path, item in
                item.keys.filter(Self.methods.contains).map { "\($0.uppercased()) \(path)" }
            })
        // `GET /` lists the table from which the router is built.
        try await TestGateway.run { gateway in
            let index = try await gateway.send("GET", "/").body
            let served = Set(index.matches(of: /(?m)^([A-Z]+ \/\S*)/).map { String($0.1) })
            #expect(served.count > 15)
            #expect(served.subtracting(described).sorted() == [], "not in the document")
            #expect(described.subtracting(served).sorted() == [], "in the document only")
        }
    }

    @Test func `has an id, responses and path parameters for each operation`() throws {
        let document = try Self.document()
        #expect((document["openapi"] as? String)?.hasPrefix("3.1") == true)
        let paths = try #require(document["paths"] as? [String: [String: Any]])
        var ids: Set<String> = []
        for (path, item) in paths {
            for (method, value) in item {
                let operation = try #require(value as? [String: Any], "\(method) \(path)")
                let id = try #require(operation["operationId"] as? String, "\(method) \(path)")
                #expect(ids.insert(id).inserted, "\(id) is used by two operations")
                let responses = try #require(operation["responses"] as? [String: Any], "\(id)")
                #expect(responses["200"] != nil, "\(id)")
                var named: Set<String> = []
                for parameter in operation["parameters"] as? [[String: Any]] ?? [] {
                    let reference = try #require(parameter["$ref"] as? String, "\(id)")
                    let resolved = try #require(Self.resolve(reference, in: document), "\(reference)")
                    if resolved["in"] as? String == "path", let name = resolved["name"] as? String {
                        named.insert(name)
                    }
                }
                let wanted = Set(path.matches(of: /\{(\w+)\}/).map { String($0.1) })
                #expect(named == wanted, "\(id)")
            }
        }
    }

    @Test func `has only valid references`() throws {
        let document = try Self.document()
        let references = Self.references(in: document)
        try #require(references.count > 30)
        for reference in references { #expect(Self.resolve(reference, in: document) != nil, "\(reference)") }
    }

    /// The value of a reference such as `#/components/schemas/Push`.
    private static func resolve(_ reference: String, in document: [String: Any]) -> [String: Any]? {
        guard reference.hasPrefix("#/") else { return nil }
        var value: Any? = document
        for name in reference.dropFirst(2).split(separator: "/") { value = (value as? [String: Any])?[String(name)] }
        return value as? [String: Any]
    }

    private static func references(in value: Any) -> Set<String> {
        if let list = value as? [Any] { return list.reduce(into: []) { $0.formUnion(references(in: $1)) } }
        guard let mapping = value as? [String: Any] else { return [] }
        return mapping.reduce(into: []) { found, entry in
            if entry.key == "$ref", let reference = entry.value as? String { found.insert(reference) }
            found.formUnion(references(in: entry.value))
        }
    }

    @Test func `has every field of a push`() throws {
        let push = try #require(Self.resolve("#/components/schemas/Push", in: try Self.document()))
        let properties = try #require(push["properties"] as? [String: Any])
        #expect(Set(properties.keys) == Set(PushField.allCases.map(\.rawValue)))
    }
}
