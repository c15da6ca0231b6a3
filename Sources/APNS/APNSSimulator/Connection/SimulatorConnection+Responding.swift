import APNSWire
import HTTP2Session
import NIOCore

/// A response that waits for the configured `answerDelay`.
struct DelayedResponse {
    var slot: Int
    var stream: Int32
    var response: SimulatedResponse
}

// Responses to pushes.
extension SimulatorConnection {
    /// Chooses the response to a complete push: the wedge response, a refusal, a fault, or 200.
    func respondToPush(_ slot: Int) {
        counters.requests += 1
        requestsEver += 1
        if requests[slot].id == nil { requests[slot].id = .random() }
        if let wedgeResponse {
            complete(slot, wedgeResponse, isTaken: false)
        } else if let refusal = refusal(slot) {
            complete(slot, refusal, isTaken: false)
        } else if faultTriggers.contains(.push), let fault = state.evaluateFaults(candidate(slot, .push)) {
            inject(fault, slot)
        } else {
            complete(slot, .accepted, isTaken: true)
        }
    }

    /// The refusal of the push, if any. Counts the push against the rate of its token.
    private func refusal(_ slot: Int) -> SimulatedResponse? {
        let tokenState = state.tokenState(of: requests[slot].token)
        if port == .channelManagement { return .refused(.badPath) }
        if !requests[slot].problems.isEmpty {
            var problems = requests[slot].problems
            if let tokenState { problems.insert(tokenState.reason) }
            let isTokenFirst = settings.validationOrder == .tokenFirst
            guard let reason = problems.first(in: isTokenFirst ? ReasonSet.tokenFirstOrder : ReasonSet.order) else {
                preconditionFailure("a reason is missing from the order of checks")
            }
            return reason == tokenState?.reason ? tokenState?.simulatedResponse : .refused(reason)
        }
        if let tokenState { return tokenState.simulatedResponse }
        if let rate = settings.requestsPerToken, !state.tokenRateLimiter.tryAcquire(requests[slot].token, rate) {
            return .refused(.tooManyRequests)
        }
        return nil
    }

    /// The push in the form that fault rules match.
    func candidate(_ slot: Int, _ trigger: FaultTrigger) -> FaultCandidate {
        FaultCandidate(
            token: requests[slot].token, topic: state.topics.name(of: requests[slot].topic), trigger: trigger,
            connection: number, requestOnConnection: trigger == .headers ? requestsEver + 1 : requestsEver
        )
    }

    /// Records the request and responds, now or after the configured delay.
    func complete(_ slot: Int, _ response: SimulatedResponse, isTaken: Bool) {
        requests[slot].isHandled = true
        recordResponse(slot, response, isTaken: isTaken)
        let stream = requests[slot].stream
        if settings.answerDelay == .zero {
            respond(slot, stream, response)
        } else {
            delay(DelayedResponse(slot: slot, stream: stream, response: response))
        }
        if responsesHaveEffects { applyEffects(of: response, on: stream) }
    }

    func respond(_ slot: Int, _ stream: Int32, _ response: SimulatedResponse) {
        // The client may have cancelled the stream in the meantime, and the slot may belong to another one.
        guard requests[slot].stream == stream, let id = requests[slot].id else { return }
        do {
            try session.respond(responseHeaders.make(for: response, id: id), body: response.body, to: stream)
        } catch {
            session.reset(stream, code: .internalError)
        }
    }

    private func delay(_ response: DelayedResponse) {
        let isFirst = delayedResponses.isEmpty
        delayedResponses.append(response, due: .now() + TimeAmount(settings.answerDelay))
        if isFirst { scheduleDelayedResponses() }
    }

    private func scheduleDelayedResponses() {
        guard let due = delayedResponses.firstDue else { return }
        schedule(at: due) { connection in
            let now = NIODeadline.now()
            while let delayed = connection.delayedResponses.popFirst(dueBy: now) {
                connection.respond(delayed.slot, delayed.stream, delayed.response)
            }
            connection.scheduleDelayedResponses()
        }
    }

    /// - Parameter response: nil if the client gets none.
    func recordResponse(_ slot: Int, _ response: SimulatedResponse?, isTaken: Bool) {
        if isTaken, let id = requests[slot].id {
            counters.taken += 1
            takenIDs.append(id)
        }
        if let response {
            if response.status == 200, response.reason.isEmpty { accepted += 1 } else { counters.count(response) }
        } else {
            counters.unanswered += 1
        }
        guard recordsPushes else { return }
        recordPush(
            slot, status: response?.status ?? 0, reason: response?.reason ?? "", isTaken: isTaken, channelID: "")
    }

    func recordPush(_ slot: Int, status: UInt16, reason: String, isTaken: Bool, channelID: String) {
        let request = requests[slot]
        pushes.append(
            ReceivedPush(
                sequence: 0, id: request.id ?? .random(), token: request.token,
                topic: state.topics.name(of: request.topic), pushType: request.pushType, priority: request.priority,
                expiration: request.expiration, collapseID: String(decoding: request.collapseID, as: UTF8.self),
                payload: request.payload, connection: number, stream: request.stream, status: status, reason: reason,
                isTaken: isTaken, receivedAt: context.now, channelID: channelID
            )
        )
    }
}
