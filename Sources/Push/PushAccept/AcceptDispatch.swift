import PushModel
import PushQueue

/// What dispatch is asked and told.
package struct AcceptDispatch: Sendable {
    package var handoff: any HotHandoff
    /// nil: what is claimed cannot be taken back here.
    package var inMemory: (any InMemoryCancel)?
    /// Why pushes of an app that are stored now will wait, nil when they will not. Asked for each batch; must not block.
    package var outlook: @Sendable (AppID) -> DeliveryOutlook?
    /// An app was paused (true) or resumed.
    package var pauseObserver: @Sendable (AppID, Bool) -> Void

    package init(
        handoff: any HotHandoff, inMemory: (any InMemoryCancel)? = nil,
        outlook: @escaping @Sendable (AppID) -> DeliveryOutlook? = { _ in nil },
        pauseObserver: @escaping @Sendable (AppID, Bool) -> Void = { _, _ in }
    ) {
        self.handoff = handoff
        self.inMemory = inMemory
        self.outlook = outlook
        self.pauseObserver = pauseObserver
    }
}
