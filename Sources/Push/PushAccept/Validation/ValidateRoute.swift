import Hummingbird
import JSONText
import NIOCore
import PushModel

/// `POST /api/v1/push/validate`: what acceptance would say about one push or many. Nothing is stored or sent.
struct ValidateRoute: Sendable {
    /// Limit of the results in a response.
    static let resultsMax = 1000

    let apps: AppDirectory
    let configuration: AcceptConfiguration
    let wallClock: @Sendable () -> WallTime

    func respond(to request: Request) async throws -> Response {
        let format = try BodyFormat(of: request.headers, linesAllowed: true)
        var validator = PushValidator(
            apps: apps, format: format == .lines ? .lines : .json,
            strict: try StrictOption.value(inQuery: request.uri.query), itemBytesMax: configuration.itemBytesMax,
            reportsMax: Self.resultsMax
        )
        let input = RequestInput(request)
        while let chunk = try await input.nextOrProblem() {
            chunk.withUnsafeReadableBytes { validator.received($0, now: wallClock()) }
        }
        validator.ended(now: wallClock())
        guard validator.accepted + validator.refused > 0 else {
            throw Problem(
                .badRequest, .invalidJSON, "the body has no push; send one as /push or several as /push/batch")
        }
        return .json(Self.json(validator))
    }

    private static func json(_ validator: PushValidator) -> [UInt8] {
        var json: [UInt8] = []
        JSONWriter.append("{\"accepted\":", to: &json)
        JSONWriter.appendInteger(validator.accepted, to: &json)
        JSONWriter.append(",\"warned\":", to: &json)
        JSONWriter.appendInteger(validator.warned, to: &json)
        JSONWriter.append(",\"refused\":", to: &json)
        JSONWriter.appendInteger(validator.refused, to: &json)
        JSONWriter.append(",\"results\":[", to: &json)
        for (position, report) in validator.reports.enumerated() {
            JSONWriter.append(position > 0 ? ",\n" : "\n", to: &json)
            ResponseJSON.append(report, to: &json)
        }
        JSONWriter.append("\n]}\n", to: &json)
        return json
    }
}
