/// The version of the executables.
package enum GodwitVersion {
    package static let current = "0.1.0"
}
