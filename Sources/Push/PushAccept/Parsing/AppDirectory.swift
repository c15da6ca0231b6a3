package import APNSWire
package import PushModel

/// A configured app, as acceptance sees it.
package struct ConfiguredApp: Sendable, Equatable {
    package var id: AppID
    /// The topic of pushes that name none, before the suffix of their push type. Empty: not known.
    package var bundleID: String
    /// At least one. The first is the environment of pushes that name none.
    package var environments: [APNSEnvironment]

    package init(id: AppID, bundleID: String, environments: [APNSEnvironment] = [.production]) {
        self.id = id
        self.bundleID = bundleID
        self.environments = environments
    }

    package var appEnvironments: [AppEnvironment] { environments.map { AppEnvironment(id, $0) } }
}

/// The configured apps, and the request headers that their pushes share, built once.
package struct AppDirectory: Sendable {
    package let apps: [ConfiguredApp]
    /// For each app, the environment of pushes that name none.
    private let environments: [APNSEnvironment]
    private let indexes: [String: Int]
    private let names: [[UInt8]]
    /// For each app, each push type with each priority.
    private let headers: [NotificationHeaders]
    /// Whether every name is the name of the first app.
    private var acceptsAnyApp = false

    private static let priorities: [Priority?] = [nil, .immediate, .conserving, .low]

    /// - Precondition: the ids are distinct, and each app has an environment.
    package init(apps: [ConfiguredApp]) {
        self.apps = apps
        environments = apps.map { $0.environments[0] }
        indexes = Dictionary(uniqueKeysWithValues: apps.enumerated().map { ($1.id.name, $0) })
        names = apps.map { Array($0.id.name.utf8) }
        headers = apps.flatMap { app in
            PushType.allCases.flatMap { type in
                let topic = app.bundleID + type.topicSuffix
                return Self.priorities.map { NotificationHeaders(topic: topic, pushType: type, priority: $0) }
            }
        }
    }

    /// For checks without a configuration: every app exists, with both environments.
    ///
    /// - Parameter bundleID: of each app; nil: not known.
    package init(anyAppWithBundleID bundleID: String?) {
        self.init(apps: [
            ConfiguredApp(id: AppID("any"), bundleID: bundleID ?? "", environments: [.production, .sandbox])
        ])
        acceptsAnyApp = true
    }

    /// The app of pushes that name none: the only configured one.
    package var defaultIndex: Int? { apps.count == 1 ? 0 : nil }

    /// The index of the app with this name.
    ///
    /// - Parameter likely: an index to try first; consecutive pushes are usually for the same app.
    func index(of name: UnsafeRawBufferPointer, likely: Int) -> Int? {
        if acceptsAnyApp { return 0 }
        if likely < names.count, names[likely].withUnsafeBytes({ $0.elementsEqual(name) }) { return likely }
        return indexes[String(decoding: name, as: UTF8.self)]
    }

    func app(named name: String) -> ConfiguredApp? { indexes[name].map { apps[$0] } }

    /// Why pushes of an app wait, for admission control. A delay that does not indicate load comes first: the oldest push
    /// may be of that environment.
    package func delay(of app: AppID, _ delay: (AppEnvironment) -> DeliveryDelay?) -> DeliveryDelay? {
        let delays = self.app(named: app.name)?.appEnvironments.compactMap(delay) ?? []
        return delays.first { !$0.reason.indicatesLoad } ?? delays.first
    }

    /// The environment of a push.
    ///
    /// - Parameter named: the environment that the push names.
    /// - Returns: nil if the app does not have it.
    func environment(ofAppAt index: Int, named: APNSEnvironment?) -> APNSEnvironment? {
        let environment = environments[index]
        guard let named, named != environment else { return environment }
        return apps[index].environments.contains(named) ? named : nil
    }

    /// The headers of a push without `topic` and `collapse_id`. Does not allocate.
    func sharedHeaders(app: Int, pushType: PushType, priority: Priority?) -> NotificationHeaders {
        let priorityIndex =
            switch priority {
            case nil: 0
            case .immediate: 1
            case .conserving: 2
            case .low: 3
            }
        return headers[(app * PushType.allCases.count + Int(pushType.rawValue)) * Self.priorities.count + priorityIndex]
    }
}
