import NIOCore

/// Simulates network latency: delays all bytes by half a round trip in each direction, in order.
///
/// It is the handler next to the socket, below TLS, so it also delays handshakes, SETTINGS, WINDOW_UPDATE and PING.
/// Without latency it forwards everything immediately. Event loop only.
final class DelayLine: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Outbound bytes above which the server stops writing, as with a full send buffer.
    private static let outBytesMax = 4 << 20
    /// Inbound bytes above which reading from the socket stops.
    private static let inBytesMax = 16 << 20

    private enum Step {
        case write(NIOAny, EventLoopPromise<Void>?, bytes: Int)
        case flush
        case close(CloseMode, EventLoopPromise<Void>?)
    }

    private var oneWayLatency: Int64 = 0
    private var oneWayJitter: Int64 = 0
    private var random: SplitMix64

    private var incoming = DelayQueue<ByteBuffer>()
    private var outgoing = DelayQueue<Step>()
    private var inBytes = 0
    private var outBytes = 0
    private var wantsRead = false
    private var wakesAt: NIODeadline?
    private var isInactive = false

    /// - Parameter seed: The seed of the jitter.
    init(_ settings: SimulatorSettings, seed: UInt64) {
        random = SplitMix64(seed: seed)
        change(settings)
    }

    /// Applies to new bytes only; delayed bytes keep their due time.
    func change(_ settings: SimulatorSettings) {
        oneWayLatency = settings.latency.nanoseconds / 2
        oneWayJitter = settings.jitter.nanoseconds / 2
    }

    /// False while too many outbound bytes are delayed. A writability event follows when capacity is available again.
    var hasCapacity: Bool { outBytes < Self.outBytesMax }

    private var hasNoDelay: Bool { oneWayLatency == 0 && oneWayJitter == 0 }

    // MARK: Inbound

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if hasNoDelay, incoming.isEmpty {
            context.fireChannelRead(data)
            return
        }
        let bytes = unwrapInboundIn(data)
        inBytes += bytes.readableBytes
        incoming.append(bytes, due: due())
        wake(context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if incoming.isEmpty { context.fireChannelReadComplete() }
    }

    func read(context: ChannelHandlerContext) {
        if inBytes < Self.inBytesMax { context.read() } else { wantsRead = true }
    }

    /// Delivers delayed bytes before the end of the connection.
    func channelInactive(context: ChannelHandlerContext) {
        isInactive = true
        deliver(context, before: .distantFuture)
        while let step = outgoing.popFirst(dueBy: .distantFuture) {
            switch step {
            case .write(_, let promise, _): promise?.fail(ChannelError.ioOnClosedChannel)
            case .close(_, let promise): promise?.succeed()
            case .flush: break
            }
        }
        context.fireChannelInactive()
    }

    private func deliver(_ context: ChannelHandlerContext, before now: NIODeadline) {
        var hasRead = false
        while let bytes = incoming.popFirst(dueBy: now) {
            inBytes -= bytes.readableBytes
            hasRead = true
            context.fireChannelRead(wrapInboundOut(bytes))
        }
        if hasRead { context.fireChannelReadComplete() }
        if wantsRead, inBytes < Self.inBytesMax, !isInactive {
            wantsRead = false
            context.read()
        }
    }

    // MARK: Outbound

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if hasNoDelay, outgoing.isEmpty {
            context.write(data, promise: promise)
            return
        }
        let bytes = unwrapOutboundIn(data).readableBytes
        outBytes += bytes
        outgoing.append(.write(data, promise, bytes: bytes), due: due())
    }

    func flush(context: ChannelHandlerContext) {
        if outgoing.isEmpty {
            context.flush()
        } else {
            outgoing.append(.flush, due: due())
            wake(context)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if hasNoDelay && outgoing.isEmpty || isInactive {
            context.close(mode: mode, promise: promise)
        } else {
            outgoing.append(.close(mode, promise), due: due())
            wake(context)
        }
    }

    private func send(_ context: ChannelHandlerContext, before now: NIODeadline) {
        let hadCapacity = hasCapacity
        while let step = outgoing.popFirst(dueBy: now) {
            switch step {
            case .write(let data, let promise, let bytes):
                outBytes -= bytes
                context.write(data, promise: promise)
            case .flush: context.flush()
            case .close(let mode, let promise): context.close(mode: mode, promise: promise)
            }
        }
        if !hadCapacity, hasCapacity, !isInactive { context.fireChannelWritabilityChanged() }
    }

    // MARK: Timing

    /// The due time of new bytes, rounded up to a millisecond so that one timer serves all bytes due within it.
    private func due() -> NIODeadline {
        let jitter = oneWayJitter == 0 ? 0 : Int64(Double(oneWayJitter) * random.nextUnit())
        let time = NIODeadline.now().uptimeNanoseconds + UInt64(oneWayLatency + jitter)
        return .uptimeNanoseconds((time + 999_999) / 1_000_000 * 1_000_000)
    }

    private func wake(_ context: ChannelHandlerContext) {
        guard let due = [incoming.firstDue, outgoing.firstDue].compactMap({ $0 }).min(), !isInactive else { return }
        if let wakesAt, wakesAt <= due { return }
        wakesAt = due
        context.eventLoop.assumeIsolated().scheduleTask(deadline: due) {
            guard self.wakesAt == due else { return }
            self.wakesAt = nil
            let now = NIODeadline.now()
            self.deliver(context, before: now)
            self.send(context, before: now)
            self.wake(context)
        }
    }
}

/// A FIFO queue of elements with due times. No element is due before an earlier one.
struct DelayQueue<Element> {
    private var elements: [(due: NIODeadline, element: Element?)] = []
    private var head = 0

    var isEmpty: Bool { head == elements.count }
    var firstDue: NIODeadline? { isEmpty ? nil : elements[head].due }

    mutating func append(_ element: Element, due: NIODeadline) {
        elements.append((isEmpty ? due : max(due, elements[elements.count - 1].due), element))
    }

    mutating func popFirst(dueBy now: NIODeadline) -> Element? {
        guard head < elements.count, elements[head].due <= now else { return nil }
        let element = elements[head].element
        elements[head].element = nil
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 4096 {
            elements.removeFirst(head)
            head = 0
        }
        return element
    }
}

extension Duration {
    /// Valid for durations of up to a day, which all durations here are.
    var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
