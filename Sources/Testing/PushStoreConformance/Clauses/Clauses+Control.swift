import APNSWire
import PushModel
import PushStore

extension QueueConformance {
    static let control: [Clause] = [
        Clause("a cancelled push is never claimed, and each id has a result") { harness in
            let now = try await harness.now
            let waiting = Samples.batch(3, at: now)
            let claimed = Samples.batch(2, at: now)
            let done = Samples.batch(1, at: now)
            try await harness.append(waiting)
            let lease = try await harness.appendClaimed(claimed)
            _ = try await harness.settle(lease, Samples.delivered([0]))
            _ = try await harness.settle(harness.appendClaimed(done), Samples.givenUp([0]))
            let ids = [
                waiting.id.push(1), claimed.id.push(1), claimed.id.push(0), done.id.push(0), waiting.id.push(3),
                BatchID.random(at: now).push(0), waiting.id.push(1),
            ]
            let expected: [CancelResult] = [
                .cancelled, .tooLate, .settled(.delivered), .settled(.givenUp), .unknown, .unknown, .cancelled,
            ]
            try expect(try await harness.queue.cancel(ids, at: now), is: expected, "the results")
            let again = try await harness.queue.cancel([waiting.id.push(1)], at: now)
            try expect(again, is: [.settled(.cancelled)], "cancelled before")
            try await harness.crash()
            try expect(try await harness.status(waiting, 1).state, is: .settled(.cancelled), "its state")
            try expect(try await harness.status(waiting, 1).code, is: .cancelled, "its code")
            let delivered = try await harness.deliverAll()
            try expect(
                Set(delivered), is: [waiting.id.push(0), waiting.id.push(2), claimed.id.push(1)],
                "the pushes that are sent")
        },
        Clause("cancelling all pushes of a batch finishes it, even if it is scheduled or waits for a retry") {
            harness in
            let now = try await harness.now
            let scheduled = Samples.batch(2, at: now, notBefore: now + .seconds(600))
            try await harness.append(scheduled)
            let retried = Samples.batch(1, at: now)
            let retry = Samples.retry(0, attempts: 3, due: now + .seconds(60))
            _ = try await harness.settle(harness.appendClaimed(retried), retries: [retry], release: .release)
            let ids = [scheduled.id.push(0), scheduled.id.push(1), retried.id.push(0)]
            try expect(
                try await harness.queue.cancel(ids, at: now), is: [.cancelled, .cancelled, .cancelled], "the results"
            )
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
            try expect(try await harness.status(retried).attempts, is: 3, "its attempts are kept")
        },
        Clause("the batches of a request are cancelled together, those of others are not") { harness in
            let now = try await harness.now
            for _ in 0..<120 { try await harness.append(Samples.batch(2, at: now, requestID: "one")) }
            let other = Samples.batch(at: now, requestID: "other")
            let plain = Samples.batch(at: now)
            try await harness.append(other, plain)
            let claimed = Samples.batch(3, at: now, requestID: "one")
            _ = try await harness.settle(harness.appendClaimed(claimed), Samples.delivered([0]))
            try expect(
                try await harness.queue.cancel(.request("one"), at: now), is: CancelCount(cancelled: 240, tooLate: 2),
                "the count"
            )
            try expect(try await harness.queue.cancel(.request("none"), at: now), is: CancelCount(), "an unknown one")
            try expect(
                Set(try await harness.deliverAll()), is: [other.id.push(0), plain.id.push(0)],
                "the pushes that are sent")
        },
        Clause("the batches of an app are cancelled in all lanes, those of others are not") { harness in
            let now = try await harness.now
            for lane in Lane.allCases {
                for _ in 0..<30 { try await harness.append(Samples.batch(3, at: now, lane: lane)) }
            }
            let later = Samples.batch(2, at: now, notBefore: now + .seconds(600))
            let other = Samples.batch(at: now, app: AppID("other"))
            try await harness.append(later, other)
            _ = try await harness.appendClaimed(Samples.batch(7, at: now))
            try expect(
                try await harness.queue.cancel(.app(Samples.app), at: now),
                is: CancelCount(cancelled: 3 * 90 + 2, tooLate: 7), "the count"
            )
            try expect(try await harness.deliverAll(), is: [other.id.push(0)], "the pushes that are sent")
        },
    ]

    static let collapsing: [Clause] = [
        Clause("a newer push with the same device and collapse id supersedes one that waits") { harness in
            let now = try await harness.now
            let older = Samples.batch(3, at: now, collapseID: "score")
            let newer = Samples.batch(2, at: now + .milliseconds(1), collapseID: "score")
            try await harness.append(older)
            try await harness.crash()
            try await harness.append(newer)
            let states = try await harness.states(older)
            try expect(states, is: [.settled(.suppressed), .settled(.suppressed), .queued], "the older ones")
            try expect(try await harness.status(older).code, is: .superseded, "the code")
            try expect(try await harness.queue.depth().pushes, is: 3, "the pushes that wait")
            try await harness.advance(by: .seconds(1))
            let sent = try await harness.deliverAll()
            try expect(
                Set(sent), is: [older.id.push(2), newer.id.push(0), newer.id.push(1)], "the pushes that are sent")
            try await harness.append(Samples.batch(3, at: now, collapseID: "score"))
            try expect(try await harness.status(older, 2).state, is: .settled(.delivered), "a verdict never changes")
        },
        Clause("a push that its append claims supersedes one that waits, and is not superseded") { harness in
            let now = try await harness.now
            let older = Samples.batch(at: now, collapseID: "score")
            try await harness.append(older)
            let direct = Samples.batch(at: now, collapseID: "score")
            _ = try await harness.appendClaimed(direct)
            try expect(try await harness.states(older), is: [.settled(.suppressed)], "the older one")
            try await harness.append(Samples.batch(at: now, collapseID: "score"))
            try expect(try await harness.states(direct), is: [.sending], "a claimed push may already be sent")
        },
        Clause("other apps, devices and collapse ids supersede nothing") { harness in
            let now = try await harness.now
            let older = Samples.batch(2, at: now, collapseID: "score")
            try await harness.append(older)
            try await harness.append(Samples.batch(2, at: now, collapseID: "goals"))
            try await harness.append(Samples.batch(2, at: now, app: AppID("simple"), collapseID: "score"))
            try await harness.append(Samples.batch(2, at: now))
            try expect(try await harness.queue.depth().pushes, is: 8, "all wait")
            try await harness.append(Samples.batch(1, at: now, collapseID: "score"))
            try expect(try await harness.states(older), is: [.settled(.suppressed), .queued], "the same device only")
        },
        Clause("other topics and push types supersede nothing: a silent push does not replace an alert") { harness in
            let now = try await harness.now
            let alert = Samples.batch(at: now, collapseID: "score")
            try await harness.append(alert)
            try await harness.append(Samples.batch(at: now, collapseID: "score", pushType: .background))
            try await harness.append(Samples.batch(at: now, collapseID: "score", topic: "org.example.other"))
            try expect(try await harness.queue.depth().pushes, is: 3, "all wait")
            try await harness.append(Samples.batch(at: now, collapseID: "score"))
            try expect(
                try await harness.states(alert), is: [.settled(.suppressed)], "the same topic and push type only")
        },
        Clause("of the batches of one append the last supersedes the others") { harness in
            let now = try await harness.now
            let batches = (0..<3).map { _ in Samples.batch(2, at: now, collapseID: "score") }
            _ = try await harness.queue.append(batches.map { NewBatch(batch: $0) })
            try expect(
                Set(try await harness.deliverAll()), is: Set((0..<2).map(batches[2].id.push)),
                "the pushes that are sent")
            try expect(try await harness.status(batches[0], 1).code, is: .superseded, "the code")
        },
        Clause("a push that returns for a retry is superseded by a newer one that waits") { harness in
            let now = try await harness.now
            let older = Samples.batch(2, at: now, collapseID: "score")
            let lease = try await harness.appendClaimed(older)
            let newer = Samples.batch(1, at: now, notBefore: now + .seconds(5), collapseID: "score")
            try await harness.append(newer)
            let retries = [0, 1].map { Samples.retry($0, due: now + .seconds(9)) }
            _ = try await harness.settle(lease, retries: retries, release: .release)
            try expect(try await harness.states(older), is: [.settled(.suppressed), .retrying], "the older ones")
            try await harness.append(Samples.batch(2, at: now, collapseID: "score"))
            try expect(
                try await harness.states(older), is: [.settled(.suppressed), .settled(.suppressed)],
                "a push that waits for a retry is superseded"
            )
            try expect(try await harness.states(newer), is: [.settled(.suppressed)], "and so is a scheduled one")
        },
        Clause("a push that is due before a newer one is sent, and so is the newer one") { harness in
            let now = try await harness.now
            let waiting = Samples.batch(at: now, collapseID: "score")
            let retried = Samples.batch(at: now, collapseID: "score")
            let lease = try await harness.appendClaimed(retried)
            try await harness.append(waiting)
            let soon = Samples.batch(at: now, notBefore: now + .seconds(20), collapseID: "score")
            let late = Samples.batch(at: now, notBefore: now + .seconds(60), collapseID: "score")
            try await harness.append(soon, late)
            let retry = Samples.retry(0, due: now + .seconds(9))
            _ = try await harness.settle(lease, retries: [retry], release: .release)
            try expect(try await harness.states(waiting), is: [.queued], "due immediately")
            try expect(try await harness.states(soon), is: [.scheduled], "due before the newest")
            // It is older than `waiting`, which is due now.
            try expect(try await harness.status(retried).code, is: .superseded, "not due before a newer one")
            try expect(try await harness.deliverAll(), is: [waiting.id.push(0)], "sent now")
            try await harness.advance(by: .seconds(30))
            try expect(try await harness.deliverAll(), is: [soon.id.push(0)], "sent then")
            try await harness.advance(by: .seconds(40))
            try expect(try await harness.deliverAll(), is: [late.id.push(0)], "sent last")
        },
        Clause("a push that returns for a retry and is due before a newer one is sent") { harness in
            let now = try await harness.now
            let older = Samples.batch(at: now, collapseID: "score")
            let lease = try await harness.appendClaimed(older)
            let newer = Samples.batch(at: now, notBefore: now + .seconds(60), collapseID: "score")
            try await harness.append(newer)
            _ = try await harness.settle(lease, retries: [Samples.retry(0, due: now + .seconds(9))], release: .release)
            try expect(try await harness.states(older), is: [.retrying], "it waits")
            let sooner = Samples.batch(at: now, notBefore: now + .seconds(9), collapseID: "score")
            try await harness.append(sooner)
            try expect(try await harness.status(older).code, is: .superseded, "superseded by one that is due no later")
            try expect(try await harness.status(newer).code, is: .superseded, "and so is the one that is due later")
        },
        Clause("a cancelled push supersedes nothing") { harness in
            let now = try await harness.now
            let older = Samples.batch(at: now, collapseID: "score")
            let lease = try await harness.appendClaimed(older)
            let newer = Samples.batch(2, at: now, collapseID: "score")
            try await harness.append(newer)
            _ = try await harness.queue.cancel([newer.id.push(0)], at: now)
            _ = try await harness.settle(lease, retries: [Samples.retry(0, due: now)], release: .release)
            try expect(try await harness.states(older), is: [.retrying], "it waits")
        },
    ]
}
