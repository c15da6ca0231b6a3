import APNSKit
import APNSWire
import HTTP2Session
import NIOCore
import NIOPosix
import Testing

@Suite struct `Error body` {
    private func read(_ text: String) -> ErrorBody { ErrorBody(Array(text.utf8)) }

    @Test func `reason and timestamp are read`() {
        #expect(read(#"{"reason":"BadDeviceToken"}"#).reason == .badDeviceToken)
        let gone = read(#" {"timestamp":1712000000123, "more":{"a":[1]}, "reason":"Unregistered"} "#)
        #expect(gone.reason == .unregistered)
        #expect(gone.timestamp == 1_712_000_000_123)
        #expect(gone.unknownReason == nil)
    }

    @Test(arguments: [
        "", " ", "{}", "[]", "null", "\"BadDeviceToken\"", "<html><body>502 Bad Gateway</body></html>", #"{"reason":"#,
        #"{"reason":"BadDeviceToken""#, #"{"reason":"BadDeviceToken"}}"#, #"{"reason":null}"#, #"{"reason":42}"#,
        #"{"reason":{"a":"b"}}"#, #"{"Reason":"BadDeviceToken"}"#, #"{"reason":""}"#, #"{"reason":"\ud800"}"#,
    ])
    func `what is not understood means no reason`(_ text: String) {
        #expect(read(text).reason == .none)
        #expect(read(text).unknownReason == nil)
    }

    @Test func `bodies of the wrong bytes or size mean no reason`() {
        #expect(ErrorBody([0xFF, 0xFE, 0]).reason == .none)
        let padding = String(repeating: " ", count: ErrorBody.bytesMax)
        #expect(read(#"{"reason":"BadTopic"}"# + padding).reason == .none)
        #expect(read(#"{"reason":"BadTopic"}"# + padding.dropLast(21)).reason == .badTopic)
        #expect(read(String(repeating: "[", count: 4000)).reason == .none)
    }

    @Test(arguments: ["1.5", "-7", "1e3", "99999999999999999999", "null", "\"1\"", "true"])
    func `a timestamp that is none is left out`(_ timestamp: String) {
        let body = read(#"{"reason":"Unregistered","timestamp":\#(timestamp)}"#)
        #expect(body.timestamp == 0)
        #expect(body.reason == .unregistered)
    }

    @Test func `unknown reasons are kept as they are, up to 128 printable bytes`() {
        let body = read(#"{"reason":"TooFancy"}"#)
        #expect(body.reason == .unknown)
        #expect(body.unknownReason == "TooFancy")
        #expect(read(#"{"reason":"a\u0000\n\u001bb\u007f\u2028é"}"#).unknownReason == "a???b??é")
        #expect(read(#"{"reason":"\#(String(repeating: "x", count: 500))"}"#).unknownReason?.utf8.count == 128)
        #expect(read(#"{"reason":"\#(String(repeating: "é", count: 500))"}"#).unknownReason?.utf8.count == 128)
        #expect(read(#"{"reason":"\#(String(repeating: "€", count: 500))"}"#).unknownReason?.utf8.count == 126)
    }
}

@Suite struct `Early GOAWAY` {
    private func read(_ bytes: [UInt8]) -> HTTP2GoAway? { bytes.withUnsafeBytes { EarlyGoAway.read($0) } }
    private let frame: [UInt8] = [0, 0, 10, 7, 0, 0, 0, 0, 0, 0x80, 0, 0, 5, 0, 0, 0, 7, 0x68, 0x69]

    @Test func `a whole frame is read`() {
        #expect(read(frame) == HTTP2GoAway(lastStream: 5, code: .refusedStream, debugData: [0x68, 0x69]))
        #expect(read(frame + [0, 0, 0])?.debugData == [0x68, 0x69])
    }

    @Test func `anything else is not`() {
        for count in 0..<frame.count { #expect(read(Array(frame.prefix(count))) == nil) }
        var settings = frame
        settings[3] = 4
        #expect(read(settings) == nil)
        var short = frame
        short[2] = 7
        #expect(read(short) == nil)
        #expect(read([0xFF, 0xFF, 0xFF, 7] + [UInt8](repeating: 0, count: 100)) == nil)
    }
}

@Suite struct `Reconnect policy` {
    @Test func `the first try and the one after a good connection come at once`() {
        var policy = ReconnectPolicy()
        #expect(policy.delay(random: 0.99) == .zero)
        policy.failed()
        #expect(policy.delay(random: 0.5) == .milliseconds(50))
        policy.succeeded()
        #expect(policy.delay(random: 0.99) == .zero)
    }

    @Test func `delays double up to a second and a half and are spread over all of that time`() {
        var policy = ReconnectPolicy()
        var ceilings: [Duration] = []
        for _ in 0..<7 {
            policy.failed()
            #expect(policy.delay(random: 0) == .zero)
            ceilings.append(policy.delay(random: 1))
        }
        #expect(ceilings == [100, 200, 400, 800, 1500, 1500, 1500].map { .milliseconds($0) })
        while policy.failures < 40 { policy.failed() }
        #expect(policy.delay(random: 1) == .milliseconds(1500))
        // What lasts is asked after more seldom.
        policy.failed()
        #expect(policy.delay(random: 1) == .seconds(10))
        for _ in 0..<10_000 { policy.failed() }
        #expect(policy.delay(random: 1) == .seconds(10))
    }

    @Test func `what only an operator can mend is tried more and more seldom, until a push is answered`() {
        var policy = ReconnectPolicy()
        policy.needsOperator = true
        #expect(policy.delay(random: 1) == .zero)
        for _ in 0..<20 { policy.failed() }
        #expect(policy.delay(random: 1) == .seconds(30))
        policy.succeeded()
        for _ in 0..<20 { policy.failed() }
        #expect(policy.delay(random: 1) == .milliseconds(1500))
    }
}

@Suite struct `Open batch and queue` {
    private final class Nobody: APNSAnswerReceiver {
        func receive(_ answers: APNSAnswers) {}
    }

    private func open(_ count: Int, indexes: [UInt16]? = nil) -> InFlightBatch {
        InFlightBatch(
            Samples.batch(count), indexes: indexes, ticket: 7, serial: 1, deadline: .uptimeNanoseconds(1_000),
            receiver: Nobody()
        )
    }

    @Test func `answers are handed out once, the last piece is marked`() throws {
        let batch = open(3)
        #expect(batch.takeAnswers() == nil)
        batch.answer(.accepted, of: 2, latency: 5)
        let first = try #require(batch.takeAnswers())
        #expect(first.ticket == 7)
        #expect(first.indexes == [2])
        #expect(first.latencies == [5])
        #expect(!first.isLast)
        #expect(batch.takeAnswers() == nil)
        batch.answer(.failed(.goAway, .refused), of: 0, latency: 0)
        batch.answer(
            APNSAnswer(outcome: .answered, status: 400, reason: .unknown), of: 1, latency: 9, unknownReason: "New"
        )
        let last = try #require(batch.takeAnswers())
        #expect(last.indexes == [0, 1])
        #expect(last.unknownReasons == [1: "New"])
        #expect(last.isLast)
    }

    @Test func `an empty batch has an empty last piece`() {
        #expect(open(0).takeAnswers()?.isLast == true)
        #expect(open(5, indexes: []).takeAnswers()?.isLast == true)
    }

    @Test func `a push is requeued twenty times at most`() {
        let batch = open(2)
        for move in 1...20 { #expect(batch.countRequeue(of: 1) == UInt8(move)) }
        #expect(batch.countRequeue(of: 1) == nil)
        #expect(batch.countRequeue(of: 0) == 1)
    }

    @Test func `pushes leave in order, requeued ones first`() {
        var waiting = RequestQueue()
        let first = open(3, indexes: [2, 0])
        let second = open(2)
        waiting.append(first)
        waiting.append(second)
        waiting.append(open(0))
        #expect(waiting.count == 4)
        #expect(waiting.first?.index == 2)
        waiting.removeFirst()
        waiting.putBack(RequestQueue.Moved(batch: first, index: 2, answer: .failed(.streamRefused, .refused)))
        #expect(waiting.count == 4)
        var order: [UInt16] = []
        while let next = waiting.first {
            order.append(next.index)
            waiting.removeFirst()
        }
        #expect(order == [2, 0, 0, 1])
        #expect(waiting.isEmpty)
        #expect(first.untaken == 0)
    }

    @Test func `what waits of one batch is taken out and the rest keeps its order`() {
        var waiting = RequestQueue()
        let (first, second, third) = (open(2), open(3), open(1))
        for batch in [first, second, third] { waiting.append(batch) }
        waiting.removeFirst()
        waiting.putBack(RequestQueue.Moved(batch: second, index: 9, answer: .failed(.goAway, .refused)))
        let removed = waiting.removeAll { $0 === second }
        #expect(removed.map(\.index) == [9, 0, 1, 2])
        #expect(removed.map { $0.answer?.outcome } == [.refused, nil, nil, nil])
        #expect(waiting.count == 2)
        #expect(waiting.first?.batch === first)
        waiting.removeFirst()
        #expect(waiting.first?.batch === third)
    }
}

/// The rules by which a lost push is sorted: these decide whether somebody's phone rings twice.
@Suite struct `Stream table` {
    private final class Nobody: APNSAnswerReceiver {
        func receive(_ answers: APNSAnswers) {}
    }

    private let batch = InFlightBatch(
        Samples.batch(10), indexes: nil, ticket: 0, serial: 1, deadline: .distantFuture, receiver: Nobody()
    )

    private func table(streams count: Int) -> StreamTable {
        var table = StreamTable()
        for index in 0..<count {
            let tag = table.open(batch, UInt16(index), now: .uptimeNanoseconds(0))
            table.submitted(tag, as: Int32(index * 2 + 1))
        }
        return table
    }

    private func loss(_ stream: StreamTable.Stream, goAwayLast: Int32? = nil) -> StreamTable.Ending {
        StreamTable.ending(of: stream, lostBecause: .connectionReset, reason: .none, goAwayLast: goAwayLast)
    }

    @Test func `a lost connection makes whole requests ambiguous and others free`() {
        var table = table(streams: 2)
        table.sent(1)
        #expect(loss(table.streams[0]) == .move(.failed(.connectionReset, .neverWritten)))
        #expect(loss(table.streams[1]) == .settle(.failed(.connectionReset, .ambiguous)))
        #expect(loss(table.streams[1], goAwayLast: 3) == .settle(.failed(.connectionReset, .ambiguous)))
        #expect(loss(table.streams[1], goAwayLast: 1) == .move(.failed(.connectionReset, .refused)))
        table.settle(1)
        #expect(loss(table.streams[1]) == .nothing)
    }

    @Test func `a status that has come stands, whatever becomes of the rest`() {
        var table = table(streams: 2)
        for tag in 0..<2 { table.sent(UInt32(tag)) }
        table.statusReceived(200, 0)
        table.statusReceived(400, 1)
        Array(#"{"reason":"BadDev"#.utf8).withUnsafeBytes { _ = table.bodyReceived($0, 1) }
        let rejected = APNSAnswer(outcome: .answered, status: 400)
        #expect(loss(table.streams[0], goAwayLast: 0) == .settle(.accepted))
        #expect(loss(table.streams[1]) == .settle(rejected))
        #expect(StreamTable.ending(of: table.streams[0], isRefused: true, goAway: nil) == .settle(.accepted))
        #expect(StreamTable.ending(of: table.streams[1], isRefused: false, goAway: (0, .none)) == .settle(rejected))
    }

    @Test func `a request that is reset before it is complete is free`() {
        let table = table(streams: 1)
        #expect(
            StreamTable.ending(of: table.streams[0], isRefused: false, goAway: nil)
                == .move(.failed(.streamReset, .neverWritten))
        )
    }

    @Test func `refused streams and those above GOAWAY's last id are free`() {
        var table = table(streams: 3)
        for tag in 0..<3 { table.sent(UInt32(tag)) }
        let goAway = (lastStream: Int32(3), reason: APNSReason.shutdown)
        func ending(_ tag: Int, isRefused: Bool) -> StreamTable.Ending {
            StreamTable.ending(of: table.streams[tag], isRefused: isRefused, goAway: goAway)
        }
        #expect(ending(1, isRefused: false) == .settle(.failed(.streamReset, .ambiguous)))
        #expect(ending(1, isRefused: true) == .move(.failed(.streamRefused, .refused)))
        let above = APNSAnswer(outcome: .refused, reason: .shutdown, failure: .goAway)
        #expect(ending(2, isRefused: true) == .move(above))
        #expect(
            StreamTable.ending(of: table.streams[0], isRefused: true, goAway: nil)
                == .move(.failed(.streamRefused, .refused))
        )
    }

    @Test func `an answer is read once, with what came with it`() throws {
        var table = table(streams: 1)
        table.sent(0)
        table.statusReceived(429, 0)
        table.retryAfterReceived(30, 0)
        Array(#"{"reason":"Too"#.utf8).withUnsafeBytes { _ = table.bodyReceived($0, 0) }
        Array(#"ManyRequests"}"#.utf8).withUnsafeBytes { _ = table.bodyReceived($0, 0) }
        let (answer, unknown) = try #require(table.answered(0))
        #expect(answer == APNSAnswer(outcome: .answered, status: 429, reason: .tooManyRequests, retryAfter: 30))
        #expect(unknown == nil)
        table.settle(0)
        #expect(table.answered(0) == nil)
        table.close(0)
        #expect(table.openCount == 0)
        // The place is used again, and nothing of the former answer is left in it.
        #expect(table.open(batch, 4, now: .uptimeNanoseconds(0)) == 0)
        table.sent(0)
        table.statusReceived(500, 0)
        #expect(table.answered(0)?.0 == APNSAnswer(outcome: .answered, status: 500))
    }

    @Test func `informational answers are not answers`() {
        var table = table(streams: 1)
        table.sent(0)
        #expect(table.answered(0) == nil)
        table.statusReceived(103, 0)
        #expect(table.answered(0) == nil)
        table.statusReceived(200, 0)
        #expect(table.answered(0)?.0 == .accepted)
    }

    @Test func `an oversized body costs bounded memory and leaves the status`() {
        var table = table(streams: 1)
        table.sent(0)
        table.statusReceived(502, 0)
        let chunk = [UInt8](repeating: 0x20, count: 3000)
        for round in 0..<1000 {
            let isTooLong = chunk.withUnsafeBytes { table.bodyReceived($0, 0) }
            #expect(isTooLong == (round > 0))
        }
        #expect(table.streams[0].body.count == ErrorBody.bytesMax + 1)
        #expect(table.answered(0)?.0 == APNSAnswer(outcome: .answered, status: 502))
    }

    @Test func `a stream that we reset keeps its place until a later PING is answered`() {
        var table = table(streams: 3)
        table.quarantine(0)
        #expect(table.openCount == 3)
        #expect(table.needsPing)
        table.pingSent()
        #expect(!table.needsPing)
        table.quarantine(1)
        #expect(table.needsPing)
        // This PING was sent before the second reset.
        table.pingAcknowledged()
        #expect(table.openCount == 2)
        #expect(table.needsPing)
        table.pingSent()
        table.pingAcknowledged()
        #expect(table.openCount == 1)
        #expect(!table.needsPing)
    }
}

@Suite struct `Client configuration` {
    @Test func `every problem is named at once`() {
        var configuration = APNSClientConfiguration(endpoint: .init(host: "", port: 0))
        configuration.connectTimeout = .zero
        configuration.pingInterval = .seconds(-1)
        configuration.streamsPerConnectionMax = 1001
        configuration.queuedPushesMax = 0
        configuration.connectionsMax = 0
        configuration.stallTimeout = .zero
        configuration.proxy = .init(host: "a b", port: 70_000)
        configuration.trustRoots = .pem("no certificate")
        #expect(configuration.problems().count == 11)
        do throws(APNSConfigurationError) {
            _ = try APNSClient(configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)
            Issue.record("a broken configuration was taken")
        } catch {
            #expect(error.problems == configuration.problems())
        }
    }

    @Test func `Apple's endpoints are fine as they are`() {
        #expect(APNSClientConfiguration(endpoint: .production).problems().isEmpty)
        #expect(APNSClientConfiguration(endpoint: .sandbox).problems().isEmpty)
    }

    @Test func `a trust roots file must exist and hold certificates`() {
        var configuration = APNSClientConfiguration(endpoint: .sandbox)
        configuration.trustRoots = .file(TestCertificate.server.certificatePath)
        #expect(configuration.problems().isEmpty)
        configuration.trustRoots = .file("/no/such/file.pem")
        #expect(configuration.problems().count == 1)
        configuration.trustRoots = .file(TestCertificate.server.keyPath)
        #expect(configuration.problems().count == 1)
    }
}
