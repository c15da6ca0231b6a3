/// What `PUT /devices/{id}` asks for; what is nil stays as it is.
struct DeviceUpdate: Equatable {
    /// What APNs is to know of the token, in words.
    enum TokenState: String, CaseIterable {
        case valid, unregistered, expired
        case wrongEnvironment = "wrong-environment"
        case wrongTopic = "wrong-topic"

        init(_ state: SimulatedTokenState?) {
            switch state {
            case nil: self = .valid
            case .unregistered: self = .unregistered
            case .expired: self = .expired
            case .bad: self = .wrongEnvironment
            case .otherTopic: self = .wrongTopic
            }
        }

        /// - Parameter now: UNIX milliseconds.
        func simulated(now: Int64) -> SimulatedTokenState? {
            switch self {
            case .valid: nil
            case .unregistered: .unregistered(at: now)
            case .expired: .expired(at: now)
            case .wrongEnvironment: .bad
            case .wrongTopic: .otherTopic
            }
        }
    }

    static let nameBytesMax = 64
    /// Of one channel id. Apple leaves the length open.
    static let channelBytesMax = 256

    var name: String?
    var isOnline: Bool?
    var tokenState: TokenState?
    var channels: Set<String>?

    init(json: [UInt8]) throws(ControlDocumentError) {
        self = try ControlDocument.parse(json) { document in
            var update = DeviceUpdate()
            try document.object("the device") { name, document in
                switch name {
                case "name":
                    update.name = try Self.text(document.string("name"), "name", 1...Self.nameBytesMax)
                case "online": update.isOnline = try document.boolean("online")
                case "token_state":
                    let label = try document.string("token_state")
                    guard let state = TokenState(rawValue: label) else {
                        let labels = TokenState.allCases.map(\.rawValue).joined(separator: ", ")
                        throw ControlDocumentError("token_state must be one of \(labels)")
                    }
                    update.tokenState = state
                case "channels":
                    var channels: Set<String> = []
                    try document.array("channels", countMax: Device.channelsMax) { index, document in
                        let place = "channels[\(index)]"
                        channels.insert(try Self.text(document.string(place), place, 1...Self.channelBytesMax))
                    }
                    update.channels = channels
                default: return false
                }
                return true
            }
            return update
        }
    }

    private init() {}

    private static func text(_ text: String, _ place: String, _ bytes: ClosedRange<Int>) throws -> String {
        guard bytes.contains(text.utf8.count) else {
            throw ControlDocumentError("\(place) must have \(bytes.lowerBound) to \(bytes.upperBound) bytes")
        }
        return text
    }
}
