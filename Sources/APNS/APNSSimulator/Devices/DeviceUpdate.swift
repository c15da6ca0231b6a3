import JSONText

/// The body of `PUT /devices/{id}`. Members that are nil stay unchanged.
struct DeviceUpdate: Equatable {
    /// The names of token states in the devices API.
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
    /// The largest channel ID. Apple documents no limit.
    static let channelBytesMax = 256

    var name: String?
    var isOnline: Bool?
    var tokenState: TokenState?
    var channels: Set<String>?

    /// Parses a JSON object. Unknown members are errors.
    init(json: [UInt8]) throws(DeviceUpdateError) {
        do {
            self = try json.withUnsafeBytes { bytes in
                var document = DeviceUpdateReader(bytes)
                return try document.update()
            }
        } catch let error as DeviceUpdateError {
            throw error
        } catch {
            throw DeviceUpdateError(description: "invalid JSON: \(error)")
        }
    }

    fileprivate init() {}
}

/// The error for an invalid update. The description names the member.
struct DeviceUpdateError: Error, Equatable, CustomStringConvertible {
    let description: String
}

private struct DeviceUpdateReader {
    private var reader: JSONReader

    init(_ bytes: UnsafeRawBufferPointer) {
        reader = JSONReader(bytes)
    }

    mutating func update() throws -> DeviceUpdate {
        var update = DeviceUpdate()
        try expect(.object, "the device", "an object")
        try reader.enterObject()
        var isFirst = true
        while let key = try reader.nextKey(isFirst: isFirst) {
            isFirst = false
            let name = reader.text(key)
            switch name {
            case "name": update.name = try text(name, 1...DeviceUpdate.nameBytesMax)
            case "online":
                try expect(.boolean, name, "true or false")
                update.isOnline = try reader.readBoolean()
            case "token_state": update.tokenState = try tokenState(name)
            case "channels": update.channels = try channels(name)
            default: throw DeviceUpdateError(description: "the device has an unknown member \"\(name)\"")
            }
        }
        try reader.finish()
        return update
    }

    private mutating func tokenState(_ path: String) throws -> DeviceUpdate.TokenState {
        guard let state = DeviceUpdate.TokenState(rawValue: try text(path, 0...64)) else {
            let labels = DeviceUpdate.TokenState.allCases.map(\.rawValue).joined(separator: ", ")
            throw DeviceUpdateError(description: "\(path) must be one of \(labels)")
        }
        return state
    }

    private mutating func channels(_ path: String) throws -> Set<String> {
        try expect(.array, path, "an array")
        try reader.enterArray()
        var (channels, count) = (Set<String>(), 0)
        while try reader.nextElement(isFirst: count == 0) {
            guard count < Device.channelsMax else {
                throw DeviceUpdateError(description: "\(path) has more than \(Device.channelsMax) elements")
            }
            channels.insert(try text("\(path)[\(count)]", 1...DeviceUpdate.channelBytesMax))
            count += 1
        }
        return channels
    }

    private mutating func text(_ path: String, _ bytes: ClosedRange<Int>) throws -> String {
        try expect(.string, path, "a string")
        let text = reader.text(try reader.readString())
        guard bytes.contains(text.utf8.count) else {
            throw DeviceUpdateError(
                description: "\(path) must have \(bytes.lowerBound) to \(bytes.upperBound) bytes")
        }
        return text
    }

    private mutating func expect(_ kind: JSONReader.Kind, _ path: String, _ what: String) throws {
        guard try reader.peekKind() == kind else { throw DeviceUpdateError(description: "\(path) must be \(what)") }
    }
}
