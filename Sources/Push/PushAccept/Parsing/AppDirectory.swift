import APNSWire
package import PushModel

/// The configured apps, and the request headers that their pushes share, built once.
package struct AppDirectory: Sendable {
    package let apps: [AppSettings]
    private let indexes: [String: Int]
    private let names: [[UInt8]]
    /// For each app, each push type with each priority.
    private let headers: [NotificationHeaders]

    private static let priorities: [Priority?] = [nil, .immediate, .conserving, .low]

    /// - Precondition: the ids are distinct.
    package init(apps: [AppSettings]) {
        self.apps = apps
        indexes = Dictionary(uniqueKeysWithValues: apps.enumerated().map { ($1.id.name, $0) })
        names = apps.map { Array($0.id.name.utf8) }
        headers = apps.flatMap { app in
            PushType.allCases.flatMap { type in
                let topic = app.bundleID + type.topicSuffix
                return Self.priorities.map { NotificationHeaders(topic: topic, pushType: type, priority: $0) }
            }
        }
    }

    /// The app of pushes that name none: the only configured one.
    package var defaultIndex: Int? { apps.count == 1 ? 0 : nil }

    /// The index of the app with this name.
    ///
    /// - Parameter likely: an index to try first; consecutive pushes are usually for the same app.
    func index(of name: UnsafeRawBufferPointer, likely: Int) -> Int? {
        if likely < names.count, names[likely].withUnsafeBytes({ $0.elementsEqual(name) }) { return likely }
        return indexes[String(decoding: name, as: UTF8.self)]
    }

    func app(named name: String) -> AppSettings? { indexes[name].map { apps[$0] } }

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
