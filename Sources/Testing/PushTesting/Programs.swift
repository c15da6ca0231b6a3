import Foundation

/// Paths in this repository.
package enum Repository {
    /// The folder that holds `Package.swift`.
    package static let root: String = {
        var url = URL(filePath: #filePath)
        for _ in 0..<4 { url.deleteLastPathComponent() }
        return url.path
    }()

    /// The `godwit` executable that was built with the running tests.
    package static let godwit = built("godwit")

    /// The `godwit-lab` executable that was built with the running tests.
    package static let godwitLab = built("godwit-lab")

    private static func built(_ product: String) -> String {
        // On Linux the test bundle is an executable next to the other products.
        let tests = Bundle.main.executableURL ?? URL(filePath: CommandLine.arguments[0])
        return tests.deletingLastPathComponent().appending(path: product).path
    }
}

/// The exit and the output of a program.
package struct ProgramResult: Sendable {
    package let exit: ChildProcess.Exit
    package let output: String
    package let error: String
}

/// Runs a program to its end.
///
/// - Throws: `SystemCallFailed` if it cannot be started; `ChildFailed`, after killing it, if it does not end within
///   `limit`.
package func run(
    _ executable: String, _ arguments: [String] = [], environment: [String: String] = [:], input: String? = nil,
    folder: String? = nil, within limit: Duration = .seconds(120)
) async throws -> ProgramResult {
    let child = try ChildProcess(
        executable, arguments, environment: environment, input: input, folder: folder
    )
    let exit = try await child.waitForExit(within: limit)
    return ProgramResult(exit: exit, output: child.text(.output), error: child.text(.error))
}

/// An HTTP response received by curl.
package struct CurlResponse: Sendable {
    package let status: Int
    package let body: String
}

/// Sends an HTTP request with curl, a client that shares no code with Godwit.
///
/// - Parameter arguments: the arguments of curl, such as URL, method and data; they must not redirect standard output.
/// - Throws: `CurlFailed` if there was no HTTP response.
package func curl(
    _ arguments: [String], folder: String? = nil, within limit: Duration = .seconds(60)
) async throws -> CurlResponse {
    let marker = "\n~status:"
    let result = try await run(
        "curl", ["--silent", "--show-error", "--write-out", "\(marker)%{http_code}"] + arguments, folder: folder,
        within: limit
    )
    guard result.exit == .status(0), let end = result.output.range(of: marker, options: .backwards),
        let status = Int(result.output[end.upperBound...])
    else { throw CurlFailed(description: "curl ended with \(result.exit): \(result.error)") }
    return CurlResponse(status: status, body: String(result.output[..<end.lowerBound]))
}

package struct CurlFailed: Error, CustomStringConvertible {
    package let description: String
}
