package import PushModel
package import PushStore

/// What dispatch is asked and told.
package struct AcceptDispatch: Sendable {
    package var handoff: any DirectHandoff
    /// nil: what is claimed cannot be taken back here.
    package var inMemory: (any ClaimedBatchCanceller)?
    /// Why pushes of an app that are stored now will wait, nil when they will not. Asked for each batch; must not block.
    package var delay: @Sendable (AppID) -> DeliveryDelay?
    /// An app was paused (true) or resumed.
    package var pauseObserver: @Sendable (AppID, Bool) -> Void

    package init(
        handoff: any DirectHandoff, inMemory: (any ClaimedBatchCanceller)? = nil,
        delay: @escaping @Sendable (AppID) -> DeliveryDelay? = { _ in nil },
        pauseObserver: @escaping @Sendable (AppID, Bool) -> Void = { _, _ in }
    ) {
        self.handoff = handoff
        self.inMemory = inMemory
        self.delay = delay
        self.pauseObserver = pauseObserver
    }
}
