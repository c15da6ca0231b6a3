import PushModel

/// The query parameter `strict` of the routes that take pushes: whether a push with warnings is refused.
enum StrictOption {
    /// - Parameter query: the query of the request's target, without the question mark.
    /// - Throws: 400 for a value other than `true` and `false`.
    static func value(inQuery query: String?) throws(Problem) -> Bool {
        guard let query, !query.isEmpty else { return false }
        var isStrict = false
        for parameter in query.split(separator: "&") where parameter == "strict" || parameter.hasPrefix("strict=") {
            switch parameter.dropFirst("strict=".count) {
            case "true": isStrict = true
            case "false": isStrict = false
            default: throw Problem(.badField, field: "strict", "must be true or false")
            }
        }
        return isStrict
    }
}
