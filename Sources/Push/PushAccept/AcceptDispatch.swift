package import PushModel
package import PushStore

/// The interface of dispatch that acceptance uses.
package struct AcceptDispatch: Sendable {
    package var handoff: any DirectHandoff
    /// Cancels pushes of claimed batches. Nil: claimed pushes cannot be cancelled.
    package var canceller: (any ClaimedBatchCanceller)?
    /// Why pushes that are accepted now will wait; nil if they will not. Called for each batch; must not block.
    package var delay: @Sendable (AppEnvironment) -> DeliveryDelay?
    /// Called after an app was paused (true) or resumed (false).
    package var pauseObserver: @Sendable (AppID, Bool) -> Void

    package init(
        handoff: any DirectHandoff, canceller: (any ClaimedBatchCanceller)? = nil,
        delay: @escaping @Sendable (AppEnvironment) -> DeliveryDelay? = { _ in nil },
        pauseObserver: @escaping @Sendable (AppID, Bool) -> Void = { _, _ in }
    ) {
        self.handoff = handoff
        self.canceller = canceller
        self.delay = delay
        self.pauseObserver = pauseObserver
    }
}
