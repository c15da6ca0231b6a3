import HTTPTypes
package import Hummingbird
import Logging
import NIOCore
import PushModel

/// Wraps the router: adds `X-Request-Id` to every response and turns errors into problem documents.
package struct AcceptResponder: HTTPResponder {
    package typealias Context = AcceptContext

    private let router: RouterResponder<AcceptContext>
    private let checks: RequestChecks
    private let metrics: AcceptMetrics
    private let logger: Logger

    init(router: Router<AcceptContext>, checks: RequestChecks, metrics: AcceptMetrics, logger: Logger) {
        self.router = router.buildResponder()
        self.checks = checks
        self.metrics = metrics
        self.logger = logger
    }

    package func respond(to request: Request, context: AcceptContext) async throws -> Response {
        var context = context
        // Not `context.id`, which traps if the log handler keeps no metadata.
        let requestID = RequestIdentifier.value(in: request.headers)
        context.requestID = requestID
        context.head = checks.head(request.head, peer: context.peer)
        var fields: HTTPFields = [:]
        var response: Response
        do {
            if let refusal = checks.refusal(of: context.head, &fields) { throw refusal }
            response = try await router.respond(to: request, context: context)
            if response.status == .notFound, context.endpointPath == "NotFound" {
                response = noRoute(request).response(requestID: requestID)
            }
        } catch let problem as Problem {
            metrics.refused(problem, on: route(of: request, context))
            response = problem.response(requestID: requestID)
        } catch {
            logger.error(
                "request failed", metadata: ["request.id": "\(requestID)", "error.type": "\(type(of: error))"])
            response = Problem(
                .internalServerError, nil, "internal error; report it with the request_id if it persists"
            )
            .response(requestID: requestID)
        }
        // Routes of Hummingbird omit the body themselves.
        if request.method == .head, response.body.contentLength != 0 { response = response.createHeadResponse() }
        response.headers.append(contentsOf: fields)
        response.headers[.requestID] = requestID
        metrics.responded(route(of: request, context), status: response.status.code)
        return response
    }

    private func route(of request: Request, _ context: AcceptContext) -> AcceptMetrics.Route {
        // The router has not seen a request that was refused before.
        RouteTable.metric(of: request.method, path: context.endpointPath ?? request.uri.path)
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
