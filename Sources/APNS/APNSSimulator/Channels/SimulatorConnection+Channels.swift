import APNSWire
import HTTP2Session
import JSONText

/// The response to a channel request.
struct SimulatedChannelResponse {
    var status: UInt16
    var reason = ""
    /// Sent in `apns-channel-id`.
    var channelID: String?
    var body: [UInt8] = []

    init(_ status: UInt16, channelID: String? = nil, body: [UInt8] = []) {
        self.status = status
        self.channelID = channelID
        self.body = body
    }

    init(_ reason: ChannelReason) {
        status = reason.status
        self.reason = reason.rawValue
        JSONWriter.append("{\"reason\":", to: &body)
        JSONWriter.appendString(reason.rawValue, to: &body)
        JSONWriter.append("}", to: &body)
    }
}

extension SimulatorConnection {
    func respondToChannelRequest(_ slot: Int) {
        counters.requests += 1
        requests[slot].isHandled = true
        let request = requests[slot]
        let response: SimulatedChannelResponse
        do throws(ParsedChannelRequest.Refusal) {
            response = try channelResponse(request, slot)
        } catch {
            response = SimulatedChannelResponse(error.reason)
        }
        counters.count(status: Int(response.status), reason: response.reason)
        respond(request, response)
    }

    private func channelResponse(_ request: IncomingRequest, _ slot: Int) throws(ParsedChannelRequest.Refusal)
        -> SimulatedChannelResponse
    {
        let parsed = try ParsedChannelRequest(path: request.channel.path, method: request.channel.method, port: port)
        if parsed.operation != .broadcast { counters.channelRequests += 1 }
        if let reason = ParsedChannelRequest.authenticationReason(request.problems) {
            throw ParsedChannelRequest.Refusal(reason)
        }
        if let id = request.channel.requestID, APNSID(id) == nil { throw ParsedChannelRequest.Refusal(.badMessageID) }
        try parsed.checkTopic(
            allowed: state.configuration.topics,
            covered: context.certificate.map { Set($0.topics) } ?? context.authentication.current?.key?.topics,
            enabled: settings.broadcastTopics
        )
        switch parsed.operation {
        case .create: return try createChannel(request, parsed.bundleID)
        case .list: return SimulatedChannelResponse(200, body: Self.list(state.channels.channels(of: parsed.bundleID)))
        case .read:
            let id = try ParsedChannelRequest.channelID(request.channel.channelID)
            guard let channel = state.channels.channel(id, of: parsed.bundleID) else {
                throw ParsedChannelRequest.Refusal(.channelNotRegistered)
            }
            return SimulatedChannelResponse(200, channelID: id, body: Self.description(channel))
        case .delete:
            let id = try ParsedChannelRequest.channelID(request.channel.channelID)
            guard state.channels.delete(id, of: parsed.bundleID) else {
                throw ParsedChannelRequest.Refusal(.channelNotRegistered)
            }
            return SimulatedChannelResponse(204)
        case .broadcast: return try broadcast(request, parsed.bundleID, slot)
        }
    }

    private func createChannel(_ request: IncomingRequest, _ bundleID: String) throws(ParsedChannelRequest.Refusal)
        -> SimulatedChannelResponse
    {
        guard request.payloadBytes <= ParsedChannelRequest.payloadBytesMax else {
            throw ParsedChannelRequest.Refusal(.payloadTooLarge)
        }
        let policy = try ParsedChannelRequest.creation(request.payload)
        let id = state.channels.create(bundleID: bundleID, storagePolicy: policy, countMax: settings.channelsMax)
        guard let id else { throw ParsedChannelRequest.Refusal(.cannotCreateChannelConfig) }
        return SimulatedChannelResponse(201, channelID: id)
    }

    private func broadcast(_ request: IncomingRequest, _ bundleID: String, _ slot: Int) throws(ParsedChannelRequest
        .Refusal)
        -> SimulatedChannelResponse
    {
        let id = try ParsedChannelRequest.channelID(request.channel.channelID)
        let channel = state.channels.channel(id, of: bundleID)
        try ParsedChannelRequest.checkBroadcast(request, channel)
        state.channels.broadcast(
            request.payload, to: id, of: bundleID, expiration: request.expiration, now: context.now)
        counters.broadcastsTaken += 1
        state.devices.broadcast(
            channelID: id, bundleID: bundleID, id: request.channel.requestID.flatMap { APNSID($0) } ?? .random(),
            payload: request.payload, priority: request.priority, expiration: request.expiration,
            keepsNewest: channel?.storagePolicy == 1
        )
        if recordsPushes { recordPush(slot, status: 200, reason: "", isTaken: true, channelID: id) }
        return SimulatedChannelResponse(200)
    }

    private func respond(_ request: IncomingRequest, _ response: SimulatedChannelResponse) {
        var headers = HTTP2Headers()
        headers.append(":status", "\(response.status)")
        let requestID = request.channel.requestID.flatMap { APNSID($0) } ?? .random()
        headers.append("apns-request-id", "\(requestID)", isIndexed: false)
        if let id = response.channelID { headers.append("apns-channel-id", id, isIndexed: false) }
        if !response.body.isEmpty { headers.append("content-type", "application/json" as StaticString) }
        do {
            let body = response.body.isEmpty ? nil : HTTP2Body(response.body)
            try session.respond(headers, body: body, to: request.stream)
        } catch {
            session.reset(request.stream, code: .internalError)
        }
    }

    private static func list(_ channels: [SimulatedChannel]) -> [UInt8] {
        var bytes: [UInt8] = []
        JSONWriter.append("{\"channels\":[", to: &bytes)
        for (index, channel) in channels.enumerated() {
            if index > 0 { JSONWriter.append(",", to: &bytes) }
            JSONWriter.appendString(channel.id, to: &bytes)
        }
        JSONWriter.append("]}", to: &bytes)
        return bytes
    }

    private static func description(_ channel: SimulatedChannel) -> [UInt8] {
        var bytes: [UInt8] = []
        JSONWriter.append("{\"message-storage-policy\":", to: &bytes)
        JSONWriter.appendInteger(channel.storagePolicy, to: &bytes)
        JSONWriter.append(",\"push-type\":\"LiveActivity\"}", to: &bytes)
        return bytes
    }
}
