import Foundation
package import Testing

extension Trait where Self == ConditionTrait {
    /// Marks a test that mounts a file system, makes a network namespace or acts as another user.
    ///
    /// All other tests run without privileges. `scripts/test.sh` selects these by their names, which contain "as root"; a
    /// house rule compares both.
    package static var needsRoot: Self {
        .enabled(if: geteuid() == 0, "needs root; `make test` as root runs it")
    }
}
