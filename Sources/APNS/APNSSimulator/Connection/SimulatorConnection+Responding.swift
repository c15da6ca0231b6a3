import APNSWire
import HTTP2Session
import NIOCore

/// An answer that waits until the server has thought long enough.
struct HeldAnswer {
    var slot: Int
    var stream: Int32
    var answer: SimulatedResponse
}

/// What a push is answered with.
extension SimulatorConnection {
    func judge(_ slot: Int) {
        counters.requests += 1
        requestsEver += 1
        if requests[slot].id == nil { requests[slot].id = .random() }
        if let wedged {
            settle(slot, wedged, isTaken: false)
        } else if let refusal = refusal(slot) {
            settle(slot, refusal, isTaken: false)
        } else if faultMoments.contains(.push), let fault = state.fault(for: candidate(slot, .push)) {
            inject(fault, slot)
        } else {
            settle(slot, .accepted, isTaken: true)
        }
    }

    private func refusal(_ slot: Int) -> SimulatedResponse? {
        let tokenState = state.tokenState(of: requests[slot].token)
        if port == .channelManagement { return .refused(.badPath) }
        if !requests[slot].problems.isEmpty {
            var problems = requests[slot].problems
            if let tokenState { problems.insert(tokenState.reason) }
            let isTokenFirst = settings.validationOrder == .tokenFirst
            guard let reason = problems.first(in: isTokenFirst ? ReasonSet.tokenFirstOrder : ReasonSet.order) else {
                preconditionFailure("a problem that has no place in the order of checks")
            }
            return reason == tokenState?.reason ? tokenState?.answer : .refused(reason)
        }
        if let tokenState { return tokenState.answer }
        if let rate = settings.requestsPerToken, !state.tokenRates.admits(requests[slot].token, rate) {
            return .refused(.tooManyRequests)
        }
        return nil
    }

    func candidate(_ slot: Int, _ moment: FaultMoment) -> FaultCandidate {
        FaultCandidate(
            token: requests[slot].token, topic: state.topics.name(of: requests[slot].topic), moment: moment,
            connection: number, requestOnConnection: moment == .headers ? requestsEver + 1 : requestsEver
        )
    }

    /// Records the request and answers it, now or after the configured delay.
    func settle(_ slot: Int, _ answer: SimulatedResponse, isTaken: Bool) {
        requests[slot].isSettled = true
        note(slot, answer, isTaken: isTaken)
        let stream = requests[slot].stream
        if settings.answerDelay == .zero {
            respond(slot, stream, answer)
        } else {
            hold(HeldAnswer(slot: slot, stream: stream, answer: answer))
        }
        if watchesAnswers { watch(answer, on: stream) }
    }

    func respond(_ slot: Int, _ stream: Int32, _ answer: SimulatedResponse) {
        // The client may have given up in the meantime, and the slot may belong to another stream.
        guard requests[slot].stream == stream, let id = requests[slot].id else { return }
        do {
            try session.respond(answers.make(for: answer, id: id), body: answer.body, to: stream)
        } catch {
            session.reset(stream, code: .internalError)
        }
    }

    private func hold(_ answer: HeldAnswer) {
        let isFirst = held.isEmpty
        held.append(answer, due: .now() + TimeAmount(settings.answerDelay))
        if isFirst { scheduleHeld() }
    }

    private func scheduleHeld() {
        guard let due = held.firstDue else { return }
        afterwards(due) { connection in
            let now = NIODeadline.now()
            while let held = connection.held.popFirst(dueBy: now) {
                connection.respond(held.slot, held.stream, held.answer)
            }
            connection.scheduleHeld()
        }
    }

    /// - Parameter answer: nil when there will be none.
    func note(_ slot: Int, _ answer: SimulatedResponse?, isTaken: Bool) {
        if isTaken, let id = requests[slot].id {
            counters.taken += 1
            takenIDs.append(id)
        }
        if let answer {
            if answer.status == 200, answer.reason.isEmpty { accepted += 1 } else { counters.count(answer) }
        } else {
            counters.unanswered += 1
        }
        guard recordsPushes else { return }
        recordPush(
            slot, status: answer?.status ?? 0, reason: answer?.reason ?? "", isTaken: isTaken, channelID: "")
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
