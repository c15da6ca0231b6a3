/// All that one gateway instance needs of its store. Every backend implements it.
package protocol GatewayStore: DeadLetterStore, IdempotentQueue, MessageSearch, OutcomeStore, QueueControl,
    StoreMaintenance
{
    /// The clocks by which the store decides whether a push is due and whether a lease is valid. Acceptance and dispatch
    /// use them, too, so that all times of a push come from one clock.
    var clock: QueueClock { get }

    /// Renews this instance's ownership of what it has claimed or opened. Called every second; must not wait long.
    func heartbeat()

    /// Executes the calls that wait, ends all leases of this instance, and closes the store.
    ///
    /// Later calls throw `closed`. Closing twice is harmless.
    func close() async
}
