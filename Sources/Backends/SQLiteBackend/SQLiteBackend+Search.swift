import GRDB
package import PushModel
package import PushStore

extension SQLiteBackend: MessageSearch {
    /// The most records that one step of a search reads on the reading connection, so that look-ups can run in between.
    private static let recordsPerStep = 200
    /// The most time of one step; it is checked after each batch.
    private static let timePerStep: Duration = .milliseconds(10)

    package func search(
        _ query: MessageQuery, after: PushID?, limits: SearchLimits
    ) async throws(StoreError) -> MessagePage {
        let (clock, tokenHashKey) = (clock, tokenHashKey)
        let start = clock.monotonic()
        var (page, position, records) = (MessagePage(limits: limits), after, 0)
        repeat {
            let (before, from) = (page, position)
            let recordsMax = min(Self.recordsPerStep, limits.recordsMax - records)
            let step: (page: MessagePage, records: Int?)
            do throws(QueueError) {
                step = try await read { db in
                    let end = min(clock.monotonic() + Self.timePerStep, start + limits.time)
                    let search = Search(
                        db: db, query: query, tokenHashKey: tokenHashKey, now: clock.wall(),
                        isTimeUp: { clock.monotonic() >= end }
                    )
                    var page = before
                    let records = try search.run(&page, after: from, recordsMax: recordsMax)
                    return (page, records)
                }
            } catch {
                throw .unavailable("\(error)")
            }
            page = step.page
            position = page.next
            guard let read = step.records else {
                page.next = nil
                return page
            }
            records += read
        } while page.capacity > 0 && records < limits.recordsMax && clock.monotonic() - start < limits.time
        return page
    }
}
