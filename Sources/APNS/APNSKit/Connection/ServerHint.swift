import APNSWire

/// What a server says about itself in its answers. Helps to find out what answers instead of APNs.
struct ServerHint {
    private static let bytesMax = 60

    private var server: [UInt8] = []
    private var contentType: [UInt8] = []

    mutating func serverReceived(_ value: UnsafeRawBufferPointer) { Self.keep(value, in: &server) }

    mutating func contentTypeReceived(_ value: UnsafeRawBufferPointer) { Self.keep(value, in: &contentType) }

    /// Usually all answers of a server have the same value, so nothing is copied.
    private static func keep(_ value: UnsafeRawBufferPointer, in kept: inout [UInt8]) {
        guard !kept.elementsEqual(value.prefix(bytesMax)) else { return }
        kept = Array(value.prefix(bytesMax))
    }

    /// - Parameter status: the status of the answer.
    func failure(status: UInt16) -> APNSConnectionFailure {
        var detail = "the server does not answer as APNs does: status \(status)"
        if !server.isEmpty { detail += ", server \(SafeText(String(decoding: server, as: UTF8.self)))" }
        if !contentType.isEmpty { detail += ", content type \(SafeText(String(decoding: contentType, as: UTF8.self)))" }
        return APNSConnectionFailure(.notAPNs, .notAPNs, detail)
    }
}
