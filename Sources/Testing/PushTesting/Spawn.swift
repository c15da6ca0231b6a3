import Foundation
import Synchronization

/// Locked from the creation of a child's pipes until the child has started. A child started in between by another test
/// would inherit the pipes, and keep them open until it ends.
let spawning = Mutex(())

/// A pipe whose ends no other child inherits, if it is created and used while `spawning` is locked.
struct PipeEnds: Sendable {
    let read: Int32
    let write: Int32

    init() throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw SystemCallFailed("pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        read = ends[0]
        write = ends[1]
    }

    func closeRead() {
        close(read)
    }

    func closeWrite() {
        close(write)
    }
}

/// The file actions between the fork and the start of the program.
struct SpawnActions: ~Copyable {
    private var actions = posix_spawn_file_actions_t()

    init() {
        posix_spawn_file_actions_init(&actions)
    }

    deinit {
        var actions = actions
        posix_spawn_file_actions_destroy(&actions)
    }

    mutating func open(_ path: String, as descriptor: Int32) {
        posix_spawn_file_actions_addopen(&actions, descriptor, path, O_RDONLY, 0)
    }

    mutating func duplicate(_ source: Int32, as descriptor: Int32) {
        posix_spawn_file_actions_adddup2(&actions, source, descriptor)
    }

    /// - Returns: `code` is 0, or the `errno` of the failure; `processID` is valid only if `code` is 0.
    mutating func spawn(
        _ executable: String, _ arguments: [String], _ variables: [String]
    ) -> (code: Int32, processID: Int32) {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // The threads of a test run may block signals, and a child must not inherit that.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        // SAFETY: the C strings live until they are freed below, after the only call that reads them.
        let argv = ([executable] + arguments).map { strdup($0) } + [nil]
        let envp = variables.map { strdup($0) } + [nil]
        defer { for text in argv + envp { free(text) } }
        var processID: Int32 = 0
        let code = posix_spawnp(&processID, executable, &actions, &attributes, argv, envp)
        return (code, processID)
    }
}
