package import APNSWire

extension APNSEnvironment {
    /// The number in stored records. Never changes its meaning.
    package var code: UInt8 {
        switch self {
        case .production: 0
        case .sandbox: 1
        }
    }

    package init?(code: UInt8) {
        guard let environment = Self.allCases.first(where: { $0.code == code }) else { return nil }
        self = environment
    }

    package var label: String { rawValue }

    package init?(label: some StringProtocol) {
        self.init(rawValue: String(label))
    }
}

/// An app in one of its environments. Each has a credential, a circuit breaker and batches of its own.
package struct AppEnvironment: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let app: AppID
    package let environment: APNSEnvironment

    package init(_ app: AppID, _ environment: APNSEnvironment = .production) {
        self.app = app
        self.environment = environment
    }

    /// By app, production first.
    package static func < (a: AppEnvironment, b: AppEnvironment) -> Bool {
        (a.app, a.environment.code) < (b.app, b.environment.code)
    }

    package var description: String { "\(app) \(environment.label)" }
}
