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
        let requestID = RequestIdentifier.value(in: request.headers)
        context.requestID = requestID
        context.head = RequestHead(request.head, peer: context.peer)
        var response: Response
        do {
            response = try await router.respond(to: request, context: context)
            if response.status == .notFound, context.endpointPath == "NotFound" {
                response = noRoute(request).response(requestID: requestID)
            }
        } catch let problem as Problem {
            metrics.refused(problem, on: RouteTable.metric(of: request.method, path: context.endpointPath))
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
}
