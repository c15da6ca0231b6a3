import APNSKit
import APNSWire
import NIOCore

/// The recipe for Vapor, compiled against the declarations of Vapor 4 that it uses.
enum VaporSnippet {
    // snippet: vapor
    /// Stops the client with the application.
    struct APNSLifecycle: LifecycleHandler {
        let client: APNSClient

        func shutdownAsync(_ application: Application) async { await client.shutdown() }
    }

    /// To be called in `configure(_:)`: one route, `POST /orders/:number/ready?token=…`, which sends a push.
    static func configure(_ app: Application, _ configuration: APNSClientConfiguration, bundleID: String) throws {
        let client = try APNSClient(configuration: configuration, eventLoopGroup: app.eventLoopGroup)
        app.lifecycle.use(APNSLifecycle(client: client))
        app.post("orders", ":number", "ready") { request async throws -> HTTPStatus in
            let number = try request.parameters.require("number", as: Int.self)
            guard let token = DeviceToken(hex: try request.query.get(String.self, at: "token")) else {
                throw Abort(.badRequest, reason: "token is not a device token")
            }
            let push = try APNSNotification.alert("Order \(number) is ready", to: token, bundleID: bundleID)
            do throws(APNSSendError) {
                let response = try await client.send(push, requestTimeout: .seconds(5))
                if response.isAccepted { return .ok }
                return response.advice.isTokenInvalid ? .gone : .badGateway
            } catch {
                // After `ambiguous`, a repeated push may be a duplicate.
                return error.disposition == .ambiguous ? .gatewayTimeout : .serviceUnavailable
            }
        }
    }
    // snippet end

    // MARK: Declarations of Vapor 4

    protocol LifecycleHandler: Sendable {
        func shutdownAsync(_ application: Application) async
    }

    enum HTTPStatus: Sendable { case ok, badRequest, gone, badGateway, serviceUnavailable, gatewayTimeout }

    struct Abort: Error {
        var status: HTTPStatus
        var reason: String

        init(_ status: HTTPStatus, reason: String) {
            self.status = status
            self.reason = reason
        }
    }

    struct Request: Sendable {
        struct Parameters: Sendable {
            var values: [String: String]

            func require<Value: LosslessStringConvertible>(_ name: String, as type: Value.Type) throws -> Value {
                guard let value = values[name].flatMap(Value.init) else { throw Abort(.badRequest, reason: name) }
                return value
            }
        }

        struct Query: Sendable {
            var values: [String: String]

            func get(_ type: String.Type, at name: String) throws -> String {
                guard let value = values[name] else { throw Abort(.badRequest, reason: name) }
                return value
            }
        }

        var parameters: Parameters
        var query: Query
    }

    final class Application {
        struct Lifecycle {
            var handlers: [any LifecycleHandler] = []
            mutating func use(_ handler: some LifecycleHandler) { handlers.append(handler) }
        }

        typealias Handler = @Sendable (Request) async throws -> HTTPStatus

        let eventLoopGroup: any EventLoopGroup
        var lifecycle = Lifecycle()
        private(set) var routes: [String: Handler] = [:]

        init(_ eventLoopGroup: any EventLoopGroup) { self.eventLoopGroup = eventLoopGroup }

        func post(_ path: String..., use handler: @escaping Handler) {
            routes[path.joined(separator: "/")] = handler
        }

        func asyncShutdown() async {
            for handler in lifecycle.handlers.reversed() { await handler.shutdownAsync(self) }
        }
    }
}
