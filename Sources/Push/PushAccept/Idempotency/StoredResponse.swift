import APNSWire
import Foundation
import Hummingbird
import NIOCore
import PushModel

/// An answer that can be given again, byte for byte, and its short form in the store.
///
/// Accepted neighbours of one batch take about 30 bytes together; a refused item is kept as it was written.
struct StoredResponse: Sendable {
    /// How it was written.
    enum Form: UInt8, Sendable {
        case single = 0
        case array = 1
        case lines = 2
    }

    /// Bytes in the store, at most; an answer beyond it is not given in the first place.
    static let bytesMax = 4 * 1024 * 1024
    private static let version: UInt8 = 1

    var form: Form
    var pieces: [BulkResults.Piece]

    init(form: Form, pieces: [BulkResults.Piece]) {
        self.form = form
        self.pieces = pieces
    }

    func response() -> Response {
        var json: [UInt8] = []
        if form == .single {
            if case .accepted(_, _, let batch, let place, let at, let delay) = pieces.first {
                json = ResponseJSON.accepted(batch.push(place), at: at, delay)
            }
            return Response(
                status: .ok, headers: [.contentType: "application/json"],
                body: .init(byteBuffer: ByteBuffer(bytes: json))
            )
        }
        var writer = BulkResponseWriter(format: form == .lines ? .lines : .json)
        writer.append(BulkSession.Page(pieces: pieces, isLast: true, itemCount: 0, stop: nil), to: &json)
        return Response(
            status: .ok, headers: [.contentType: writer.contentType], body: .init(byteBuffer: ByteBuffer(bytes: json))
        )
    }

    // MARK: The stored form

    // version, form, then for each piece:
    //   0, count, batch (16 bytes), place, milliseconds, reason of delay + 1 or 0, seconds of its estimate + 1 or 0
    //   1, length, JSON of one refused item
    // Integers are varints: seven bits a byte, lowest first.

    func encoded() -> Data {
        var bytes: [UInt8] = [Self.version, form.rawValue]
        for piece in pieces {
            switch piece {
            case .accepted(_, let count, let batch, let place, let at, let delay):
                bytes.append(0)
                Varint.append(UInt64(count), to: &bytes)
                withUnsafeBytes(of: (batch.value.high.bigEndian, batch.value.low.bigEndian)) { bytes += $0 }
                Varint.append(UInt64(place), to: &bytes)
                Varint.append(UInt64(clamping: at.milliseconds), to: &bytes)
                Varint.append(delay.map { UInt64($0.reason.rawValue) + 1 } ?? 0, to: &bytes)
                Varint.append(delay?.estimate.map { UInt64($0.secondsRoundedUp) + 1 } ?? 0, to: &bytes)
            case .failed: preconditionFailure("what is not stored is not remembered")
            case .refused, .verbatim:
                var json: [UInt8] = []
                ResponseJSON.append(piece, separator: UInt8(ascii: ","), to: &json)
                json.removeLast()
                bytes.append(1)
                Varint.append(UInt64(json.count), to: &bytes)
                bytes += json
            }
        }
        return Data(bytes)
    }

    /// nil for what this version did not write.
    init?(_ data: Data) {
        var bytes = [UInt8](data)[...]
        guard bytes.popFirst() == Self.version, let form = bytes.popFirst().flatMap(Form.init) else { return nil }
        self.form = form
        pieces = []
        var index = 0
        while let tag = bytes.popFirst() {
            if tag == 1 {
                guard let length = Varint.take(from: &bytes), length <= UInt64(bytes.count) else { return nil }
                pieces.append(.verbatim(json: Array(bytes.prefix(Int(length)))))
                bytes = bytes.dropFirst(Int(length))
                index += 1
                continue
            }
            guard tag == 0, let piece = Self.accepted(from: &bytes, first: index) else { return nil }
            pieces.append(piece.piece)
            index += piece.count
        }
        guard !pieces.isEmpty else { return nil }
    }

    private static func accepted(
        from bytes: inout ArraySlice<UInt8>, first: Int
    ) -> (piece: BulkResults.Piece, count: Int)? {
        guard let count = Varint.take(from: &bytes), (1...UInt64(NotificationBatch.countMax)).contains(count),
            bytes.count >= 16
        else { return nil }
        func integer(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        let id = APNSID(high: integer(bytes.prefix(8)), low: integer(bytes.dropFirst(8).prefix(8)))
        bytes = bytes.dropFirst(16)
        guard let batch = BatchID(id), let place = Varint.take(from: &bytes),
            place < UInt64(NotificationBatch.countMax),
            let at = Varint.take(from: &bytes), let milliseconds = Int64(exactly: at),
            let reason = Varint.take(from: &bytes), reason <= UInt64(UInt8.max),
            let estimate = Varint.take(from: &bytes),
            estimate <= UInt64(Int32.max)
        else { return nil }
        let delay =
            reason == 0
            ? nil
            : DeliveryDelay.Reason(rawValue: UInt8(reason - 1)).map {
                DeliveryDelay(reason: $0, estimate: estimate == 0 ? nil : .seconds(Int64(estimate) - 1))
            }
        let piece = BulkResults.Piece.accepted(
            first: first, count: Int(count), batch: batch, place: Int(place),
            at: WallTime(milliseconds: milliseconds), delay
        )
        return (piece, Int(count))
    }
}

/// Integers of seven bits a byte.
enum Varint {
    static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest > 0x7F {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    static func take(from bytes: inout ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 63, by: 7) {
            guard let byte = bytes.popFirst() else { return nil }
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte & 0x80 == 0 { return value }
        }
        return nil
    }
}
