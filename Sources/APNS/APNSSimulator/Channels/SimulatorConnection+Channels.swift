import APNSWire
import HTTP2Session
import JSONText

/// What a request about channels is answered with.
struct ChannelAnswer {
    var status: UInt16
    var reason = ""
    /// Told in `apns-channel-id`.
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
    func judgeChannelRequest(_ slot: Int) {
        counters.requests += 1
        requests[slot].isSettled = true
        let request = requests[slot]
        let answer: ChannelAnswer
        do throws(ChannelRequest.Refusal) {
            answer = try channelAnswer(request, slot)
        } catch {
            answer = ChannelAnswer(error.reason)
        }
        counters.count(status: Int(answer.status), reason: answer.reason)
        respond(request, answer)
    }

    private func channelAnswer(_ request: IncomingRequest, _ slot: Int) throws(ChannelRequest.Refusal) -> ChannelAnswer
    {
        let wanted = try ChannelRequest(path: request.channel.path, method: request.channel.method, port: port)
        if wanted.operation != .broadcast { counters.channelRequests += 1 }
        if let reason = ChannelRequest.authenticationReason(request.problems) { throw ChannelRequest.Refusal(reason) }
        if let id = request.channel.requestID, APNSID(id) == nil { throw ChannelRequest.Refusal(.badMessageID) }
        try wanted.checkTopic(
            allowed: state.configuration.topics,
            covered: context.certificate.map { Set($0.topics) } ?? context.authentication.current?.key?.topics,
            enabled: settings.broadcastTopics
        )
        switch wanted.operation {
        case .create: return try createChannel(request, wanted.bundleID)
        case .list: return ChannelAnswer(200, body: Self.list(state.channels.channels(of: wanted.bundleID)))
        case .read:
            let id = try ChannelRequest.channelID(request.channel.channelID)
            guard let channel = state.channels.channel(id, of: wanted.bundleID) else {
                throw ChannelRequest.Refusal(.channelNotRegistered)
            }
            return ChannelAnswer(200, channelID: id, body: Self.description(channel))
        case .delete:
            let id = try ChannelRequest.channelID(request.channel.channelID)
            guard state.channels.delete(id, of: wanted.bundleID) else {
                throw ChannelRequest.Refusal(.channelNotRegistered)
            }
            return ChannelAnswer(204)
        case .broadcast: return try broadcast(request, wanted.bundleID, slot)
        }
    }

    private func createChannel(_ request: IncomingRequest, _ bundleID: String) throws(ChannelRequest.Refusal)
        -> ChannelAnswer
    {
        guard request.payloadBytes <= ChannelRequest.payloadBytesMax else {
            throw ChannelRequest.Refusal(.payloadTooLarge)
        }
        let policy = try ChannelRequest.creation(request.payload)
        let id = state.channels.create(bundleID: bundleID, storagePolicy: policy, countMax: settings.channelsMax)
        guard let id else { throw ChannelRequest.Refusal(.cannotCreateChannelConfig) }
        return ChannelAnswer(201, channelID: id)
    }

    private func broadcast(_ request: IncomingRequest, _ bundleID: String, _ slot: Int) throws(ChannelRequest.Refusal)
        -> ChannelAnswer
    {
        let id = try ChannelRequest.channelID(request.channel.channelID)
        let channel = state.channels.channel(id, of: bundleID)
        try ChannelRequest.checkBroadcast(request, channel)
        state.channels.broadcast(
            request.payload, to: id, of: bundleID, expiration: request.expiration, now: context.now)
        counters.broadcastsTaken += 1
        state.devices.broadcast(
            channelID: id, bundleID: bundleID, id: request.channel.requestID.flatMap { APNSID($0) } ?? .random(),
            payload: request.payload, priority: request.priority, expiration: request.expiration,
            keepsNewest: channel?.storagePolicy == 1
        )
        if recordsPushes { recordPush(slot, status: 200, reason: "", isTaken: true, channelID: id) }
        return ChannelAnswer(200)
    }

    private func respond(_ request: IncomingRequest, _ answer: ChannelAnswer) {
        var headers = HTTP2Headers()
        headers.append(":status", "\(answer.status)")
        let requestID = request.channel.requestID.flatMap { APNSID($0) } ?? .random()
        headers.append("apns-request-id", "\(requestID)", isIndexed: false)
        if let id = answer.channelID { headers.append("apns-channel-id", id, isIndexed: false) }
        if !answer.body.isEmpty { headers.append("content-type", "application/json" as StaticString) }
        do {
            let body = answer.body.isEmpty ? nil : HTTP2Body(answer.body)
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
