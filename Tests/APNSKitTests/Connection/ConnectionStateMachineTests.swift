import APNSKit
import APNSWire
import HTTP2Session
import NIOCore
import Testing

/// The close rules that connections for pushes and for channels share.
@Suite struct `Connection state machine` {
    private func goAway(_ last: Int32, _ debugData: String = "") -> HTTP2GoAway {
        HTTP2GoAway(lastStream: last, code: .noError, debugData: Array(debugData.utf8))
    }

    private func failure(
        _ machine: ConnectionStateMachine, isIdle: Bool = false, isSessionOver: Bool = false
    ) -> APNSAnswer.Failure? {
        machine.closeFailure(isIdle: isIdle, isSessionOver: isSessionOver)
    }

    @Test func `it becomes ready by the first SETTINGS and drains once`() {
        var machine = ConnectionStateMachine()
        let isDrainedEarly = machine.drain()
        let isReady = machine.settingsReceived()
        let isReadyAgain = machine.settingsReceived()
        #expect(!isDrainedEarly && isReady && !isReadyAgain && machine.state == .ready)
        let isDrained = machine.drain()
        let isDrainedAgain = machine.drain()
        #expect(isDrained && !isDrainedAgain && machine.state == .draining)
    }

    @Test func `it closes when it is drained and idle, or when the session is over`() {
        var machine = ConnectionStateMachine()
        _ = machine.settingsReceived()
        #expect(failure(machine, isIdle: true) == nil)
        #expect(failure(machine, isSessionOver: true) == .protocolError)
        _ = machine.drain()
        #expect(failure(machine) == nil)
        #expect(failure(machine, isIdle: true) == .connectionClosed)
        let first = machine.close(.connectionClosed)
        let second = machine.close(.connectionReset)
        #expect(first == .connectionClosed && second == nil)
        #expect(failure(machine, isIdle: true, isSessionOver: true) == nil)
    }

    @Test func `draining is limited by the earliest deadline`() {
        var machine = ConnectionStateMachine()
        _ = machine.settingsReceived()
        machine.limitDraining(until: .uptimeNanoseconds(20))
        machine.limitDraining(until: .uptimeNanoseconds(30))
        #expect(!machine.isDrainOverdue(now: .uptimeNanoseconds(25)))
        _ = machine.drain()
        #expect(!machine.isDrainOverdue(now: .uptimeNanoseconds(19)))
        #expect(machine.isDrainOverdue(now: .uptimeNanoseconds(20)))
    }

    @Test func `the last GOAWAY counts, with the last reason`() {
        var machine = ConnectionStateMachine()
        let first = machine.goAwayReceived(goAway(.max, #"{"reason":"Shutdown"}"#))
        let second = machine.goAwayReceived(goAway(5))
        #expect(first == .shutdown && second == .none)
        #expect(machine.goAway?.lastStream == 5 && machine.goAway?.reason == .shutdown)
        let failure = machine.close(.connectionClosed)
        #expect(failure == .goAway)
    }

    @Test func `a GOAWAY is read before SETTINGS and not later`() {
        let frame: [UInt8] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0]
        frame.withUnsafeBytes { bytes in
            var machine = ConnectionStateMachine()
            let first = machine.bytesReceived(bytes)
            _ = machine.settingsReceived()
            let second = machine.bytesReceived(bytes)
            #expect(first == .goAway(HTTP2GoAway(lastStream: 3, code: .noError, debugData: [])))
            #expect(second == .pass(held: []))
        }
    }
}
