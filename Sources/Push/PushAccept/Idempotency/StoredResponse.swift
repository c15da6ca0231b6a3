import APNSWire
import Foundation
import Hummingbird
import NIOCore
import PushModel
import PushStore
import SwiftProtobuf

/// An answer that can be given again, byte for byte, and its short form in the store.
///
/// Accepted neighbours of one batch take about 40 bytes together; a refused item is kept as it was written.
struct StoredResponse: Sendable {
    /// How it was written.
    enum Form: Sendable {
        case single, array, lines
    }

    /// Bytes in the store, at most; an answer beyond it is not given in the first place.
    static let bytesMax = 4 * 1024 * 1024

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

    // MARK: The stored form: `godwit.v1.IdempotentResponse`

    /// - Precondition: no run has failed, because a failed write stores no response.
    func encoded() -> Data {
        var stored = StoredIdempotentResponse()
        stored.format =
            switch form {
            case .single: .single
            case .array: .array
            case .lines: .lines
            }
        stored.runs = pieces.map(StoredResultRun.init)
        do {
            return try stored.serializedBytes()
        } catch {
            // Only messages with required fields (proto2), or of 2 GiB and more, cannot be written.
            preconditionFailure("a response of \(pieces.count) runs cannot be written: \(error)")
        }
    }

    /// - Returns: nil for bytes that this version cannot read: damaged, or written by a newer one.
    init?(_ data: Data) {
        guard let stored = try? StoredIdempotentResponse(serializedBytes: data) else { return nil }
        switch stored.format {
        case .single: form = .single
        case .array: form = .array
        case .lines: form = .lines
        case .unspecified, .UNRECOGNIZED: return nil
        }
        pieces = []
        pieces.reserveCapacity(stored.runs.count)
        var index = 0
        for run in stored.runs {
            switch run.kind {
            case .accepted(let accepted):
                guard let piece = accepted.piece(first: index) else { return nil }
                pieces.append(piece)
                index += Int(accepted.count)
            case .refusedJson(let json):
                pieces.append(.verbatim(json: Array(json)))
                index += 1
            case nil: return nil
            }
        }
        guard !pieces.isEmpty else { return nil }
    }
}

extension StoredResultRun {
    fileprivate init(_ piece: BulkResults.Piece) {
        self.init()
        switch piece {
        case .accepted(_, let count, let batch, let place, let at, let delay):
            accepted.count = UInt32(count)
            accepted.batchID = batch.bytes
            accepted.firstPush = UInt32(place)
            accepted.acceptedAtMs = at.milliseconds
            if let delay { accepted.delay = StoredDelay(delay) }
        case .failed: preconditionFailure("the response to a failed write is not stored")
        case .refused, .verbatim:
            var json: [UInt8] = []
            ResponseJSON.append(piece, separator: UInt8(ascii: ","), to: &json)
            json.removeLast()
            refusedJson = Data(json)
        }
    }
}

extension StoredAcceptedRun {
    /// - Parameter first: index of the first item in the request.
    /// - Returns: nil if a value is not one that this version writes.
    fileprivate func piece(first: Int) -> BulkResults.Piece? {
        guard count >= 1, Int(firstPush) + Int(count) <= NotificationBatch.countMax, let batch = BatchID(bytes: batchID)
        else { return nil }
        var known: DeliveryDelay?
        if hasDelay {
            guard let delay = DeliveryDelay(delay) else { return nil }
            known = delay
        }
        return .accepted(
            first: first, count: Int(count), batch: batch, place: Int(firstPush),
            at: WallTime(milliseconds: acceptedAtMs), known
        )
    }
}

extension StoredDelay {
    fileprivate init(_ delay: DeliveryDelay) {
        self.init()
        reason =
            switch delay.reason {
            case .apnsUnreachable: .apnsUnreachable
            case .credentialRefused: .credentialRefused
            case .paused: .paused
            case .rateLimited: .rateLimited
            case .backlog: .backlog
            }
        if let estimate = delay.estimate { estimateSeconds = UInt32(clamping: estimate.secondsRoundedUp) }
    }
}

extension DeliveryDelay {
    fileprivate init?(_ stored: StoredDelay) {
        let reason: Reason
        switch stored.reason {
        case .apnsUnreachable: reason = .apnsUnreachable
        case .credentialRefused: reason = .credentialRefused
        case .paused: reason = .paused
        case .rateLimited: reason = .rateLimited
        case .backlog: reason = .backlog
        case .unspecified, .UNRECOGNIZED: return nil
        }
        self.init(reason: reason, estimate: stored.hasEstimateSeconds ? .seconds(Int64(stored.estimateSeconds)) : nil)
    }
}
