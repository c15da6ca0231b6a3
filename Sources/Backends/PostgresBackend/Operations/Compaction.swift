#if Postgres
import PostgresLink
import PushModel
import PushStore

/// Replaces many rows in `progress` of claimed batches by one each.
enum Compaction {
    /// The call; nil if no batch needs it. It changes nothing of a batch that was overtaken.
    static func call(_ claimed: [BatchRow]) -> PostgresCall? {
        let batches = claimed.filter { $0.compactable != nil }
        guard !batches.isEmpty else { return nil }
        return PostgresCall("progress_compact", sql) { parameters in
            parameters.append(ids: batches.map(\.id))
            parameters.append(array: batches.map { Int32(truncatingIfNeeded: $0.epoch) })
            parameters.append(array: batches.map { $0.compactable?.lastKey ?? 0 })
            parameters.append(
                array: batches.map { batch in
                    [UInt8](
                        ProgressCodec.encode(
                            ProgressRecord(replacing: batch.compactable?.records ?? []), of: batch.id))
                })
        }
    }

    // The last row keeps its key: one that is added meanwhile stays behind it.
    private static let sql = """
        WITH mine AS MATERIALIZED (
            SELECT b.id, v.last_key, v.body
            FROM unnest($1, $2, $3, $4) AS v(id, epoch, last_key, body)
            JOIN batches b ON b.id = v.id AND b.epoch = v.epoch ORDER BY b.id FOR UPDATE OF b),
        replaced AS (DELETE FROM progress p USING mine m WHERE p.id = m.id AND p.key < m.last_key)
        UPDATE progress p SET body = m.body FROM mine m WHERE p.id = m.id AND p.key = m.last_key
        """
}
#endif
