/// An environment of APNs. A device token is valid in one of them only.
package enum APNSEnvironment: UInt8, Sendable, CaseIterable, Comparable, CustomStringConvertible {
    case production = 0
    case sandbox = 1

    package var description: String { label }
    package var label: String {
        switch self {
        case .production: "production"
        case .sandbox: "sandbox"
        }
    }

    package init?(label: some StringProtocol) {
        guard let environment = Self.allCases.first(where: { $0.label == label }) else { return nil }
        self = environment
    }

    package static func < (a: APNSEnvironment, b: APNSEnvironment) -> Bool { a.rawValue < b.rawValue }
}

/// An app in one of its environments. Each has a credential, a circuit breaker and batches of its own.
package struct AppEnvironment: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let app: AppID
    package let environment: APNSEnvironment

    package init(_ app: AppID, _ environment: APNSEnvironment = .production) {
        self.app = app
        self.environment = environment
    }

    package static func < (a: AppEnvironment, b: AppEnvironment) -> Bool {
        (a.app, a.environment) < (b.app, b.environment)
    }

    package var description: String { "\(app) \(environment)" }
}
