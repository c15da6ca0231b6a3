package import Hummingbird
import Logging
import NIOCore
import PushModel

/// Around the router: gives every answer an `X-Request-Id` and makes a problem document of whatever went wrong.
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
        // Not `context.id`: that one traps when the log handler keeps no metadata.
        let requestID = Self.requestID(of: request) ?? RequestID().description
        context.requestID = requestID
        var response: Response
        do {
            response = try await router.respond(to: request, context: context)
            if response.status == .notFound, context.endpointPath == "NotFound" {
                response = noRoute(request).response(requestID: requestID)
            }
        } catch let problem as Problem {
            if let code = problem.code, RouteTable.takesPushes(request.method, path: context.endpointPath) {
                metrics.refused(code, pushes: problem.refusedPushes)
            }
            response = problem.response(requestID: requestID)
        } catch {
            logger.error(
                "request failed", metadata: ["request.id": "\(requestID)", "error.type": "\(type(of: error))"])
            response = Problem(.internalServerError, nil, "the request could not be served")
                .response(requestID: requestID)
        }
        response.headers[.requestID] = requestID
        metrics.answered(
            RouteTable.metric(of: request.method, path: context.endpointPath), status: response.status.code)
        return response
    }

    private func noRoute(_ request: Request) -> Problem {
        let methods = RouteTable.methods(at: request.uri.path)
        guard !methods.isEmpty else {
            return Problem(.notFound, nil, "there is no such route; GET / lists them")
        }
        let allowed = methods.map(\.rawValue).joined(separator: ", ")
        var problem = Problem(.methodNotAllowed, nil, "this route takes \(allowed)")
        problem.headers[.allow] = allowed
        return problem
    }

    /// The caller's own id, if it is one that may stand in a log: up to 128 letters, digits and `-._`.
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
