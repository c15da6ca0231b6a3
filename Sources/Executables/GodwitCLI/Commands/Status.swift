import APNSWire
import ArgumentParser

/// Tells what is known of one push.
struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what became of a push.",
        discussion: "Exit status: 0 when the push is known, 1 when it is not or the gateway cannot be reached."
    )

    @Argument(help: "The msg_id that the gateway gave to the push.")
    var id: String

    @OptionGroup var gateway: TimeoutOption

    @Flag(name: .customLong("json"), help: "Print the gateway's JSON as it is.")
    var isJSON = false

    func validate() throws {
        guard APNSID(id) != nil else { throw ValidationError("\(id) is not an id of a push") }
    }

    func run() async throws {
        guard let id = APNSID(id) else { return }
        let body = try await gateway.call { try await $0.status(id) }
        guard let body else { throw GatewayFailure(description: "the gateway knows no push with the id \(id)") }
        print(isJSON ? JSONResponse.trimmed(body) : Self.text(body))
    }

    /// A line a field, in the gateway's order; fields without a value are left out.
    static func text(_ body: [UInt8]) -> String {
        var fields: [(name: String, value: String)] = []
        body.withUnsafeBytes { bytes in
            var reader = FieldReader(bytes)
            while let field = try? reader.next() {
                if field.value != "null", field.value != "" { fields.append(field) }
            }
        }
        let width = fields.map(\.name.count).max() ?? 0
        return fields.map { name, value in
            name + String(repeating: " ", count: width - name.count + 2) + value
        }.joined(separator: "\n")
    }
}
