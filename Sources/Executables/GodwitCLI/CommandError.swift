/// Why a command failed, in one line that its user can act on. The command exits with status 1.
package struct CommandError: Error, CustomStringConvertible {
    package var description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// Runs `body` and rethrows any error as a `CommandError` in plain words.
package func withPlainErrors<Value>(_ body: () async throws -> Value) async throws -> Value {
    do {
        return try await body()
    } catch {
        throw CommandError("\(PlainReason.of(error))")
    }
}
