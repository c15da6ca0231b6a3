import APNSWire
import PushModel

/// The requests of a run. Each depends only on the seed and its number.
struct TortureLoad: Sendable {
    static let apps = ["com.example.one", "com.example.two", "com.example.three"]

    /// A request to send.
    struct PlannedRequest: Sendable {
        var sent: SentRequest
        var isBulk: Bool
        /// Cancel its pushes as soon as they are accepted.
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
    func request(_ number: Int, isBulk: Bool, first: Int, now: Int64) -> PlannedRequest {
        var random = SeededGenerator(seed: seed ^ UInt64(number) &* 0xD6E8_FEB8_6659_FD93)
        let app = Self.apps.randomElement(using: &random)!
        let lane = isBulk ? "bulk" : ["normal", "normal", "urgent"].randomElement(using: &random)!
        let count = isBulk ? Int.random(in: 20...400, using: &random) : 1
        var sent = SentRequest(request: number, app: app, lane: lane, first: first, count: count)
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
        return PlannedRequest(sent: sent, isBulk: isBulk, isCancelled: isCancelled)
    }

    // MARK: Devices

    /// The first 24 bytes of all device tokens of this run.
    private var tokenPrefix: [UInt8] {
        var random = SeededGenerator(seed: seed &+ 1)
        return (0..<3).flatMap { _ in withUnsafeBytes(of: random.next().bigEndian) { Array($0) } }
    }

    private func token(of device: Int) -> String {
        DeviceToken(bytes: tokenPrefix + withUnsafeBytes(of: UInt64(device).bigEndian) { Array($0) })!.hex
    }

    /// The number of the device with this token; nil if the token is not from this run.
    func device(of token: [UInt8]) -> Int? {
        guard token.count == 32, token.starts(with: tokenPrefix) else { return nil }
        return Int(exactly: token[24...].reduce(0) { $0 << 8 | UInt64($1) })
    }

    /// Tokens that APNs rejects as unregistered: one in 128.
    static let unregisteredPatterns = ["*4d", "*cd"]

    func payload(of device: Int) -> String { #"{"aps":{"alert":"push \#(device)"}}"# }

    /// The body of the request: one push per line.
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
