import NIOCore
import Synchronization

/// Set by a test to let a scripted server answer.
final class ReleaseFlag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool { value.load(ordering: .relaxed) }

    func set() { value.store(true, ordering: .relaxed) }
}

extension ScriptedServer.Peer {
    /// Answers when `flag` is set.
    func respond(_ request: ScriptedServer.Request, _ status: Int, after flag: ReleaseFlag) {
        guard !flag.isSet else { return respond(request, status) }
        after(.milliseconds(5)) { self.respond(request, status, after: flag) }
    }
}
