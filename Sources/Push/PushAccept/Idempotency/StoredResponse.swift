import APNSWire
import Foundation
import Hummingbird
import NIOCore
import PushModel
import PushStore
import SwiftProtobuf

/// A response that can be replayed byte for byte, and its compact form in the store.
///
/// A run of accepted pushes is stored in about 40 bytes; a refused item is stored as it was written.
struct StoredResponse: Sendable {
    /// The format of the body.
    enum Format: Sendable {
        case single, array, lines
    }

    /// Limit of the encoded form. A request whose response would be larger is refused.
    static let bytesMax = 4 * 1024 * 1024

    var format: Format
    var runs: [BulkResults.Run]

    init(format: Format, runs: [BulkResults.Run]) {
        self.format = format
        self.runs = runs
    }

    func response() -> Response {
        let (contentType, body) = content()
        return Response(status: .ok, headers: [.contentType: contentType], body: .init(byteBuffer: body))
    }

    func content() -> (type: String, body: ByteBuffer) {
        var json: [UInt8] = []
        if format == .single {
            if case .accepted(_, _, let batch, let firstPush, let at, let delay, let notes) = runs.first {
                json = ResponseJSON.accepted(batch.push(firstPush), at: at, delay, warnings: notes.warnings)
            }
            return ("application/json", ByteBuffer(bytes: json))
        }
        var writer = BulkResponseWriter(format: format == .lines ? .lines : .json)
        writer.append(BulkSession.Page(runs: runs, isLast: true, itemCount: 0, stop: nil), to: &json)
        return (writer.contentType, ByteBuffer(bytes: json))
    }

    // MARK: The stored form: `godwit.v1.IdempotentResponse`

    /// - Precondition: no run has failed, because a failed write stores no response.
    func encoded() -> Data {
        var stored = StoredIdempotentResponse()
        stored.format =
            switch format {
            case .single: .single
            case .array: .array
            case .lines: .lines
            }
        let hasTokens = runs.contains(where: \.hasTokens)
        stored.runs = runs.map { StoredResultRun($0, writesItem: hasTokens) }
        do {
            return try stored.serializedBytes()
        } catch {
            // Only messages with required fields (proto2), or of 2 GiB and more, cannot be written.
            preconditionFailure("a response of \(runs.count) runs cannot be written: \(error)")
        }
    }

    /// - Returns: nil for bytes that this version cannot read: damaged, or written by a newer one.
    init?(_ data: Data) {
        guard let stored = try? StoredIdempotentResponse(serializedBytes: data) else { return nil }
        switch stored.format {
        case .single: format = .single
        case .array: format = .array
        case .lines: format = .lines
        case .unspecified, .UNRECOGNIZED: return nil
        }
        runs = []
        runs.reserveCapacity(stored.runs.count)
        var item = 0
        for run in stored.runs {
            switch run.kind {
            case .accepted(let accepted):
                guard let run = accepted.run(firstItem: item) else { return nil }
                runs.append(run)
                item = accepted.hasFirstToken ? Int(accepted.firstItem) + 1 : item + Int(accepted.count)
            case .refusedJson(let json):
                runs.append(.verbatim(json: Array(json)))
                item += 1
            case nil: return nil
            }
        }
        guard !runs.isEmpty else { return nil }
    }
}

extension StoredResultRun {
    /// - Parameter writesItem: whether the index of the first item is written, because an item may have several results.
    fileprivate init(_ run: BulkResults.Run, writesItem: Bool) {
        self.init()
        switch run {
        case .accepted(let firstItem, let count, let batch, let firstPush, let at, let delay, let notes):
            accepted.count = UInt32(count)
            accepted.batchID = batch.bytes
            accepted.firstPush = UInt32(firstPush)
            accepted.acceptedAtMs = at.milliseconds
            if let delay { accepted.delay = StoredDelay(delay) }
            if writesItem { accepted.firstItem = UInt32(firstItem) }
            if let token = notes.firstToken { accepted.firstToken = UInt32(token) }
            accepted.warningsJson = Data(notes.warnings)
        case .failed: preconditionFailure("the response to a failed write is not stored")
        case .refused, .verbatim:
            var json: [UInt8] = []
            ResponseJSON.append(run, separator: UInt8(ascii: ","), to: &json)
            json.removeLast()
            refusedJson = Data(json)
        }
    }
}

extension StoredAcceptedRun {
    /// - Parameter firstItem: index in the request of the first item.
    /// - Returns: nil if a value is not one that this version writes.
    fileprivate func run(firstItem: Int) -> BulkResults.Run? {
        guard count >= 1, Int(firstPush) + Int(count) <= NotificationBatch.countMax, let batch = BatchID(bytes: batchID)
        else { return nil }
        var known: DeliveryDelay?
        if hasDelay {
            guard let delay = DeliveryDelay(delay) else { return nil }
            known = delay
        }
        return .accepted(
            firstItem: hasFirstItem ? Int(self.firstItem) : firstItem, count: Int(count), batch: batch,
            firstPush: Int(firstPush), at: WallTime(milliseconds: acceptedAtMs), known,
            notes: BulkResults.Notes(
                firstToken: hasFirstToken ? Int(firstToken) : nil, warnings: Array(warningsJson))
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
