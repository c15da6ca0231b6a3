#if ServiceLifecycleSupport
public import ServiceLifecycle

extension APNSClient: Service {
    /// Runs the client as a service of a `ServiceGroup`: returns when the group shuts down, after `shutdown`.
    ///
    /// A graceful shutdown waits for the answers to the pushes in the client, up to 10 seconds. Cancelling the task ends
    /// that wait; a group does so after its `maximumGracefulShutdownDuration`. A group stops its services in reverse
    /// order, so list the client before the services that send with it.
    public func run() async {
        // Throws only when the task is cancelled, which also ends the grace of `shutdown`.
        try? await gracefulShutdown()
        await shutdown()
    }
}

extension APNSChannelClient: Service {
    /// Runs the client as a service of a `ServiceGroup`, with the same rules as `APNSClient`.
    public func run() async {
        try? await gracefulShutdown()
        await shutdown()
    }
}
#endif
