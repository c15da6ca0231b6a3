import NIOCore

/// A long line between client and server: what comes in and what goes out arrives half a round trip later, in order.
///
/// It sits next to the socket, below TLS, so that handshakes, SETTINGS and their acknowledgements, WINDOW_UPDATE and
/// PING take their time like everything else. Without latency it hands everything on at once. Event loop only.
final class DelayLine: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// On the way out; the server stops writing above it, as it would with a full send buffer.
    private static let outBytesMax = 4 << 20
    /// On the way in; nothing more is read from the socket above it.
    private static let inBytesMax = 16 << 20

    private enum Step {
        case write(NIOAny, EventLoopPromise<Void>?, bytes: Int)
        case flush
        case close(CloseMode, EventLoopPromise<Void>?)
    }

    private var halfTrip: Int64 = 0
    private var halfJitter: Int64 = 0
    private var random: SplitMix64

    private var incoming = WaitingLine<ByteBuffer>()
    private var outgoing = WaitingLine<Step>()
    private var inBytes = 0
    private var outBytes = 0
    private var wantsRead = false
    private var wakesAt: NIODeadline?
    private var isGone = false

    /// - Parameter seed: of the jitter.
    init(_ settings: SimulatorSettings, seed: UInt64) {
        random = SplitMix64(seed: seed)
        change(settings)
    }

    /// What is under way already arrives as it would have.
    func change(_ settings: SimulatorSettings) {
        halfTrip = settings.latency.nanoseconds / 2
        halfJitter = settings.jitter.nanoseconds / 2
    }

    /// False while too much is on its way out; a change of writability is announced when there is room again.
    var hasCapacity: Bool { outBytes < Self.outBytesMax }

    private var isShort: Bool { halfTrip == 0 && halfJitter == 0 }

    // MARK: In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isShort, incoming.isEmpty {
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

    /// What the client said before it went arrives all the same.
    func channelInactive(context: ChannelHandlerContext) {
        isGone = true
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
        if wantsRead, inBytes < Self.inBytesMax, !isGone {
            wantsRead = false
            context.read()
        }
    }

    // MARK: Out

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if isShort, outgoing.isEmpty {
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
        if isShort && outgoing.isEmpty || isGone {
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
        if !hadCapacity, hasCapacity, !isGone { context.fireChannelWritabilityChanged() }
    }

    // MARK: Time

    /// Rounded up to a millisecond, so that all that falls into one is carried by one timer.
    private func due() -> NIODeadline {
        let jitter = halfJitter == 0 ? 0 : Int64(Double(halfJitter) * random.nextUnit())
        let time = NIODeadline.now().uptimeNanoseconds + UInt64(halfTrip + jitter)
        return .uptimeNanoseconds((time + 999_999) / 1_000_000 * 1_000_000)
    }

    private func wake(_ context: ChannelHandlerContext) {
        guard let due = [incoming.firstDue, outgoing.firstDue].compactMap({ $0 }).min(), !isGone else { return }
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

/// First in, first out: nothing is due before what came earlier.
struct WaitingLine<Element> {
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
    /// Of times up to a day, as all are here.
    var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
