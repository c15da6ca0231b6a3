import APNSWire
import PushStore

/// One HTTP/2 connection between a model client and the model of APNs.
final class ModelLink {
    /// A push inside the client.
    struct Flight {
        var truth: BatchGroundTruth
        var index: UInt16
        var lease: Lease
        var ticket: UInt64
        /// When the client stops waiting for a connection, in virtual time.
        var waitUntil: Ticks
        /// How long the client waits for the answer, in virtual time.
        var answerTimeout: Ticks
        /// How often the push was requeued unprocessed.
        var requeues = 0
        /// The reason for the last requeue.
        var lastAnswer: APNSAnswer?

        var push: Int { Int(index) }
    }

    struct Stream {
        var id: Int
        var flight: Flight
        /// When the client stops waiting for the answer, in virtual time.
        var answerUntil: Ticks
    }

    /// The client's state of the connection.
    enum State {
        case connecting, ready
        /// Opens no new streams.
        case draining
        case closed
    }

    /// The client releases its connections when its process ends.
    let client: ModelAPNsClient
    var state = State.connecting
    var streamsMax: Int
    var open: [Stream] = []
    private(set) var nextStream = 1
    /// The last stream ID of the GOAWAY that the client received.
    var goAwayLast: Int?

    // State of the server.
    /// The server has closed the connection, or no data reaches it.
    var isServerUnreachable = false
    /// Answers do not reach the client.
    var dropsAnswers = false
    /// The highest stream that the server has processed.
    var lastProcessed = 0
    /// The server processes no stream above.
    var lastAccepted = Int.max

    init(client: ModelAPNsClient, streamsMax: Int) {
        self.client = client
        self.streamsMax = streamsMax
    }

    func openStream(_ flight: Flight, now: Ticks) -> Stream {
        let stream = Stream(id: nextStream, flight: flight, answerUntil: now + flight.answerTimeout)
        nextStream += 2
        open.append(stream)
        return stream
    }

    func close(_ id: Int) -> Flight? {
        guard let index = open.firstIndex(where: { $0.id == id }) else { return nil }
        return open.remove(at: index).flight
    }
}
