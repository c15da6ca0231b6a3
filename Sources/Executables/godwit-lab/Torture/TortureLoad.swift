import APNSWire

/// The pushes of a run: which there are follows from seed and number.
struct TortureLoad: Sendable {
    static let apps = ["com.example.one", "com.example.two", "com.example.three"]

    /// One request to make.
    struct Order: Sendable {
        var sent: SentRequest
        var isBulk: Bool
        /// Ask for the cancellation of its pushes as soon as they are accepted.
        var isCancelled: Bool
    }

    private let seed: UInt64

    init(seed: UInt64) {
        self.seed = seed
    }

    /// The request with this number.
    ///
    /// - Parameters:
    ///   - first: the number of its first device.
    ///   - now: UNIX seconds.
    func order(_ request: Int, isBulk: Bool, first: Int, now: Int64) -> Order {
        var random = SeededRandom(seed: seed ^ UInt64(request) &* 0xD6E8_FEB8_6659_FD93)
        let app = Self.apps.randomElement(using: &random)!
        let lane = isBulk ? "bulk" : ["normal", "normal", "urgent"].randomElement(using: &random)!
        let count = isBulk ? Int.random(in: 20...400, using: &random) : 1
        var sent = SentRequest(request: request, app: app, lane: lane, first: first, count: count)
        var isCancelled = false
        switch Int.random(in: 0..<20, using: &random) {
        case 0, 1: sent.expiration = now + Int64.random(in: 1...6, using: &random)
        case 2: sent.notBefore = now + Int64.random(in: 2...6, using: &random)
        case 3:
            sent.notBefore = now + Int64.random(in: 2...4, using: &random)
            sent.expiration = sent.notBefore! + Int64.random(in: 1...4, using: &random)
        case 4: sent.dropsUnanswered = true
        case 5:
            sent.notBefore = now + Int64.random(in: 3...6, using: &random)
            isCancelled = true
        default: break
        }
        return Order(sent: sent, isBulk: isBulk, isCancelled: isCancelled)
    }

    // MARK: Devices

    /// What all device tokens of this run begin with: 24 bytes.
    private var mark: [UInt8] {
        var random = SeededRandom(seed: seed &+ 1)
        return (0..<3).flatMap { _ in withUnsafeBytes(of: random.next().bigEndian) { Array($0) } }
    }

    private func token(of device: Int) -> String {
        DeviceToken(bytes: mark + withUnsafeBytes(of: UInt64(device).bigEndian) { Array($0) })!.hex
    }

    /// The number of the device with this token; nil when it is none of ours.
    func device(of token: [UInt8]) -> Int? {
        guard token.count == 32, token.starts(with: mark) else { return nil }
        return Int(exactly: token[24...].reduce(0) { $0 << 8 | UInt64($1) })
    }

    /// Tokens whose app was removed: one in 128.
    static let gonePatterns = ["*4d", "*cd"]

    func payload(of device: Int) -> String { #"{"aps":{"alert":"push \#(device)"}}"# }

    /// The body of the request: one push a line.
    func body(of sent: SentRequest) -> String {
        var fields = #""app":"\#(sent.app)","lane":"\#(sent.lane)""#
        if let expiration = sent.expiration { fields += #","expiration":\#(expiration)"# }
        if let notBefore = sent.notBefore { fields += #","not_before":\#(notBefore)"# }
        if sent.dropsUnanswered == true { fields += #","on_unanswered":"drop""# }
        var body = ""
        for device in sent.first..<sent.first + sent.count {
            body += #"{"device_token":"\#(token(of: device))","payload":\#(payload(of: device)),\#(fields)}"# + "\n"
        }
        return body
    }
}
