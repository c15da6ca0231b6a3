import HTTPTypes

/// Refuses control requests whose body is not declared to be JSON, with 415.
///
/// A browser asks the server before it sends JSON to another site, but not before it sends text or a form.
struct ContentTypeCheck: RequestCheck {
    func check(_ head: RequestHead, _ fields: inout HTTPFields) throws(Problem) {
        guard head.request.method == .post else { return }
        if !head.fields.contains(.contentType) {
            let length = head.fields[.contentLength]
            guard head.fields.contains(.transferEncoding) || length != nil && length != "0" else { return }
            throw Problem(.unsupportedMediaType, nil, "send the body with Content-Type: application/json")
        }
        _ = try BodyFormat(of: head.fields, linesAllowed: false)
    }
}
