/// Runs `body` in a task of its own, for a caller that is not in a task and learns of the end in another way.
///
/// Nothing waits for the task, so `body` must end by itself and handle its own errors.
package func inBackground(_ body: @escaping @Sendable () async -> Void) {
    Task { await body() }
}
