package import Hummingbird
import Logging
import NIOCore
import PushModel

/// Wraps the router: adds `X-Request-Id` to every response and turns errors into problem documents.
package struct AcceptResponder: HTTPResponder {
    package typealias Context = AcceptContext

    private let router: RouterResponder<AcceptContext>
    private let metrics: AcceptMetrics
    private let logger: Logger

    init(router: Router<AcceptContext>, metrics: AcceptMetrics, logger: Logger) {
        self.router = router.buildResponder()
        self.metrics = metrics
        self.logger = logger
    }

    package func respond(to request: Request, context: AcceptContext) async throws -> Response {
        var context = context
        // Not `context.id`, which traps if the log handler keeps no metadata.
        let requestID = Self.requestID(of: request) ?? RequestID().description
        context.requestID = requestID
        var response: Response
        do {
            response = try await router.respond(to: request, context: context)
            if response.status == .notFound, context.endpointPath == "NotFound" {
                response = noRoute(request).response(requestID: requestID)
            }
        } catch let problem as Problem {
            if let code = problem.code, RouteTable.acceptsPushes(request.method, path: context.endpointPath) {
                metrics.refused(code, pushes: problem.refusedPushes)
            }
            response = problem.response(requestID: requestID)
        } catch {
            logger.error(
                "request failed", metadata: ["request.id": "\(requestID)", "error.type": "\(type(of: error))"])
            response = Problem(
                .internalServerError, nil, "internal error; report it with the request_id if it persists"
            )
            .response(requestID: requestID)
        }
        response.headers[.requestID] = requestID
        metrics.responded(
            RouteTable.metric(of: request.method, path: context.endpointPath), status: response.status.code)
        return response
    }

    private func noRoute(_ request: Request) -> Problem {
        let methods = RouteTable.methods(at: request.uri.path)
        guard !methods.isEmpty else {
            return Problem(.notFound, nil, "no such route; GET / lists all routes")
        }
        let allowed = methods.map(\.rawValue).joined(separator: ", ")
        var problem = Problem(.methodNotAllowed, nil, "this route accepts only \(allowed)")
        problem.headers[.allow] = allowed
        return problem
    }

    /// The caller's id, if it is safe to log: 1 to 128 letters, digits and `-._`.
    private static func requestID(of request: Request) -> String? {
        guard let value = request.headers[.requestID], (1...128).contains(value.utf8.count),
            value.utf8.allSatisfy({
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                    true
                default: false
                }
            })
        else { return nil }
        return value
    }
}
