import APNSWire
import PushStore

/// One HTTP/2 connection between a model client and the model of APNs.
final class ModelLink {
    /// A push on its way through a client.
    struct Flight {
        var truth: BatchGroundTruth
        var index: UInt16
        var lease: Lease
        var ticket: UInt64
        /// When the client gives it up, in virtual time.
        var deadline: Ticks
        /// How often it came back unprocessed.
        var moves = 0
        /// What was said when it came back.
        var lastAnswer: APNSAnswer?

        var push: Int { Int(index) }
    }

    /// A flight with its stream.
    struct Stream {
        var id: Int
        var flight: Flight
    }

    /// As the client sees it.
    enum State {
        case connecting, ready
        /// Takes no new streams.
        case draining
        case closed
    }

    /// The client lets go of its connections when its process dies.
    let client: ModelAPNsClient
    var state = State.connecting
    var streamsMax: Int
    var open: [Stream] = []
    private(set) var nextStream = 1
    /// What the client has been told by GOAWAY.
    var goAwayLast: Int?

    // The server's side.
    /// The server has this connection no more, or nothing gets through to it.
    var isServerGone = false
    /// Answers do not get through.
    var isMute = false
    /// The highest stream that the server has acted on.
    var lastJudged = 0
    /// Streams above are not acted on.
    var serverLast = Int.max

    init(client: ModelAPNsClient, streamsMax: Int) {
        self.client = client
        self.streamsMax = streamsMax
    }

    func openStream(_ flight: Flight) -> Stream {
        let stream = Stream(id: nextStream, flight: flight)
        nextStream += 2
        open.append(stream)
        return stream
    }

    func close(_ id: Int) -> Flight? {
        guard let place = open.firstIndex(where: { $0.id == id }) else { return nil }
        return open.remove(at: place).flight
    }
}
