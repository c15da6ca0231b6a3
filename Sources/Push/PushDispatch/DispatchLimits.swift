/// Limits of what dispatch keeps in memory. All counts are pushes.
package struct DispatchLimits: Sendable, Equatable {
    /// In memory, all apps together.
    package var pushesMax = 40_000
    /// In memory, one app.
    package var pushesPerAppMax = 20_000
    /// The smallest share of one app, independent of the number of apps that have work.
    package var pushesPerAppMin = 2_000
    /// In flight, one app.
    package var windowPerApp = 4_000
    /// In flight, one app, at-most-once pushes: the most that one crash can lose.
    package var windowAtMostOnce = 500
    /// The same while no recent answer shows that APNs responds.
    package var windowAtMostOnceUnproven = 10
    /// How the lanes of an app share its capacity.
    package var capacityShares = LaneShares(bulk: 0.6, normal: 0.85)
    /// How the lanes of an app share its window.
    package var windowShares = LaneShares(bulk: 0.75, normal: 0.9)
    /// How the lanes of all apps share `pushesMax`.
    package var totalShares = LaneShares(bulk: 0.85, normal: 0.95)
    /// The part of `pushesMax`, and of the `pushesPerAppMax` of one app, that pushes may occupy which are held until
    /// they are due.
    package var heldShare = 0.25

    package init() {}
}
