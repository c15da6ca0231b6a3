#if Postgres
import APNSWire
import PushModel
import PushStore

/// Pushes of one app and environment to one device with the same topic, push type and collapse ID have the same target: a
/// newer one replaces older ones that wait. A silent push never replaces a visible one.
struct CollapseHash: Sendable, Hashable {
    /// 128 bits of SipHash under the store's key, so that no caller can make two targets collide.
    let high: Int64
    let low: Int64
}

struct CollapsingPush: Sendable, Hashable {
    let target: CollapseHash
    let push: UInt16

    /// The keys of the pushes that have a collapse ID, by ascending index. Checks only the headers of batches without
    /// one.
    static func keys(of batch: Batch, key: TokenHashKey) -> [CollapsingPush] {
        let pushes = batch.notifications
        guard pushes.headers.contains(where: { $0.collapseID != nil }) else { return [] }
        var prefix: [UInt8] = []
        append(batch.app.name.utf8, to: &prefix)
        append(batch.environment.label.utf8, to: &prefix)
        var keys: [CollapsingPush] = []
        for (index, entry) in pushes.entries.enumerated() {
            let headers = pushes.headers[Int(entry.headersIndex)]
            guard let collapseID = headers.collapseID else { continue }
            var bytes = prefix
            append(pushes.token(at: index), to: &bytes)
            append(headers.topic.utf8, to: &bytes)
            append(headers.pushType.description.utf8, to: &bytes)
            append(collapseID.utf8, to: &bytes)
            keys.append(
                CollapsingPush(
                    target: CollapseHash(high: hash(bytes, 1, key), low: hash(bytes, 2, key)), push: UInt16(index)))
        }
        return keys
    }

    /// The length distinguishes "ab" + "c" from "a" + "bc".
    private static func append(_ part: some Collection<UInt8>, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: UInt32(part.count).bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: part)
    }

    private static func hash(_ bytes: [UInt8], _ half: UInt8, _ key: TokenHashKey) -> Int64 {
        ([half] + bytes).withUnsafeBytes { Int64(bitPattern: key.sipHash($0)) }
    }
}
#endif
