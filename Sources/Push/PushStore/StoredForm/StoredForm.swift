import APNSWire
package import Foundation
import PushModel

extension BatchID {
    /// The 16 bytes of the UUID, big-endian.
    package var bytes: Data {
        var bytes = Data(capacity: 16)
        withUnsafeBytes(of: value.high.bigEndian) { bytes.append(contentsOf: $0) }
        withUnsafeBytes(of: value.low.bigEndian) { bytes.append(contentsOf: $0) }
        return bytes
    }

    /// nil unless `bytes` has 16 bytes and the last two are zero.
    package init?(bytes: Data) {
        guard bytes.count == 16 else { return nil }
        let (high, low) = bytes.withUnsafeBytes { raw in
            (
                UInt64(bigEndian: raw.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
        self.init(APNSID(high: high, low: low))
    }
}

extension StoredEnvironment {
    init(_ environment: APNSEnvironment) {
        switch environment {
        case .production: self = .production
        case .sandbox: self = .sandbox
        }
    }
}

extension APNSEnvironment {
    init?(_ stored: StoredEnvironment) {
        switch stored {
        case .production: self = .production
        case .sandbox: self = .sandbox
        case .unspecified, .UNRECOGNIZED: return nil
        }
    }
}

extension StoredLane {
    init(_ lane: Lane) {
        switch lane {
        case .urgent: self = .urgent
        case .normal: self = .normal
        case .bulk: self = .bulk
        }
    }
}

extension Lane {
    init?(_ stored: StoredLane) {
        switch stored {
        case .urgent: self = .urgent
        case .normal: self = .normal
        case .bulk: self = .bulk
        case .unspecified, .UNRECOGNIZED: return nil
        }
    }
}

extension StoredHeaders {
    init(_ headers: NotificationHeaders) {
        self.init()
        topic = headers.topic
        pushType = headers.pushType.description
        priority = UInt32(headers.priority?.rawValue ?? 0)
        collapseID = headers.collapseID ?? ""
    }
}

extension NotificationHeaders {
    init(_ stored: StoredHeaders) throws(CodecError) {
        guard let pushType = PushType(label: stored.pushType) else { throw CodecError("unknown push type") }
        let priority = UInt8(exactly: stored.priority).flatMap(Priority.init)
        guard priority != nil || stored.priority == 0 else { throw CodecError("priority \(stored.priority)") }
        self.init(
            topic: stored.topic, pushType: pushType, priority: priority,
            collapseID: stored.collapseID.isEmpty ? nil : stored.collapseID
        )
    }
}

extension Batch {
    /// Whether any push has a client, a request or a trace.
    var hasOrigin: Bool { !clients.isAbsent || !requestIDs.isAbsent || !traceparents.isAbsent }
}

extension StoredOrigin {
    init(of batch: Batch) {
        self.init()
        // A message that is set is stored, even if it is empty.
        if !batch.clients.isAbsent { clients = StoredTextColumn(batch.clients) }
        if !batch.requestIDs.isAbsent { requestIds = StoredTextColumn(batch.requestIDs) }
        if !batch.traceparents.isAbsent { traceparents = StoredTextColumn(batch.traceparents) }
    }
}

extension StoredTextColumn {
    init(_ column: PushColumn<String>) {
        self.init()
        guard let values = column.values else {
            texts = column.shared.map { [$0] } ?? []
            return
        }
        var indexByText: [String: UInt32] = [:]
        indexes = values.map { text in
            guard let text else { return 0 }
            if let index = indexByText[text] { return index }
            texts.append(text)
            indexByText[text] = UInt32(texts.count)
            return UInt32(texts.count)
        }
    }

    func column(rows: Int, name: StaticString) throws(CodecError) -> PushColumn<String> {
        guard !indexes.isEmpty else { return PushColumn(shared: texts.first) }
        let indexes = try FoldedColumn(indexes, absent: 0, rows: rows, name: name)
        var values: [String?] = []
        values.reserveCapacity(rows)
        for row in 0..<rows {
            guard indexes[row] <= texts.count else { throw CodecError("text \(indexes[row]) of column \(name)") }
            values.append(indexes[row] == 0 ? nil : texts[Int(indexes[row]) - 1])
        }
        return PushColumn(values)
    }
}
