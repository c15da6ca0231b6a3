import Foundation
package import Testing

extension Trait where Self == ConditionTrait {
    /// Marks a test that mounts a file system, makes a network namespace or acts as another user.
    ///
    /// All other tests run without privileges. `scripts/test.sh` selects these by their names, which contain "as root"; a
    /// house rule compares both. Where root may do none of this, as in many containers, they are skipped.
    package static var needsRoot: Self {
        .enabled(if: mayAdminister, "needs root; `make test` as root runs it")
    }

    /// Whether this process has CAP_SYS_ADMIN, which is number 21.
    private static var mayAdminister: Bool {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let effective = status.firstMatch(of: /CapEff:\s+([0-9a-f]+)/).flatMap { UInt64($0.1, radix: 16) } ?? 0
        return effective & (1 << 21) != 0
    }
}
