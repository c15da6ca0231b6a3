import CNGHTTP2

/// One side of one HTTP/2 connection without I/O: bytes in, events out; requests in, bytes out.
///
/// It owns neither a socket nor a clock. Pass received bytes to `receive`, write the bytes that `serialize` outputs,
/// and handle events in the delegate that is passed to both. libnghttp2 implements RFC 9113 (framing, HPACK, flow
/// control, stream states).
///
/// Not Sendable: use it from one thread at a time, in practice from one event loop. The delegate is called only from
/// inside `receive` and `serialize`; it may submit, respond, reset and ping, but must not call `receive` or
/// `serialize`.
package final class HTTP2Session {
    package enum Role: Sendable {
        case client, server
    }

    package let role: Role

    // SAFETY (whole class): `session` is created in `init`, used only by methods of this object and deleted in
    // `deinit`, so it is valid for every call. libnghttp2 keeps this object as an untyped, unretained pointer and uses
    // it only inside calls made by this object, during which the caller holds the object alive. The class is not
    // Sendable, so no two threads call it concurrently.
    private let session: OpaquePointer
    private let limits: HTTP2Limits
    private var delegate: (any HTTP2SessionDelegate)?
    /// Scratch memory for the fields of one header block; the library copies from it.
    private let fields: UnsafeMutablePointer<nghttp2_nv>
    private var bodies = OutgoingBodies()
    /// Requests that were submitted but not yet serialized, oldest first. The library does not have their tags yet when
    /// it drops such a request.
    private var unsentRequests = UnsentRequests()
    private var headerBytesReceived = 0
    /// The request that was last reported as not sent. The library opens and immediately closes a stream for it, which
    /// is not reported.
    private var streamNotSent: Int32 = 0

    /// - Parameters:
    ///   - settings: the content of this side's first SETTINGS frame.
    ///   - limits: limits for the peer, and assumptions before its first SETTINGS frame.
    package init(role: Role, settings: HTTP2Settings = HTTP2Settings(), limits: HTTP2Limits = HTTP2Limits()) {
        self.role = role
        self.limits = limits
        fields = .allocate(capacity: HTTP2Headers.fieldsMax)
        session = Self.makeSession(role: role, limits: limits)
        nghttp2_session_set_user_data(session, Unmanaged.passUnretained(self).toOpaque())
        submitSettings(settings)
    }

    deinit {
        nghttp2_session_del(session)
        fields.deallocate()
    }

    // MARK: Bytes

    /// Processes bytes received from the peer, and calls `delegate` with the events in them.
    ///
    /// - Throws: when the peer violated the protocol and the session cannot continue. `serialize` may still output a
    ///   GOAWAY for the peer; `receive` must not be called again.
    package func receive(_ bytes: UnsafeRawBufferPointer, delegate: any HTTP2SessionDelegate) throws(HTTP2SessionError)
    {
        guard let start = bytes.baseAddress else { return }
        precondition(self.delegate == nil, "receive called from inside a delegate call")
        self.delegate = delegate
        defer { self.delegate = nil }
        let consumed = nghttp2_session_mem_recv(session, start.assumingMemoryBound(to: UInt8.self), bytes.count)
        guard consumed >= 0 else { throw HTTP2SessionError(libraryCode: Int32(consumed)) }
    }

    /// Outputs pending frames in order, until there are none or `limit` is reached.
    ///
    /// - Parameters:
    ///   - limit: stops after this many bytes; the last frame is completed, so slightly more may be output.
    ///   - output: called once per frame; the bytes are valid during the call only.
    /// - Returns: the number of bytes.
    @discardableResult
    package func serialize(
        limit: Int = .max, delegate: any HTTP2SessionDelegate, _ output: (UnsafeRawBufferPointer) -> Void
    ) throws(HTTP2SessionError) -> Int {
        precondition(self.delegate == nil, "serialize called from inside a delegate call")
        self.delegate = delegate
        defer { self.delegate = nil }
        var total = 0
        while total < limit {
            var chunk: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(session, &chunk)
            guard count >= 0 else { throw HTTP2SessionError(libraryCode: Int32(count)) }
            guard count > 0, let chunk else { break }
            output(UnsafeRawBufferPointer(start: chunk, count: count))
            total += count
        }
        return total
    }

    /// When neither reads nor writes are wanted, the session is over and the connection can be closed.
    package var wantsToRead: Bool { nghttp2_session_want_read(session) != 0 }
    package var wantsToWrite: Bool { nghttp2_session_want_write(session) != 0 }

    // MARK: Client

    /// Queues a request; `serialize` outputs it.
    ///
    /// - Parameters:
    ///   - headers: pseudo-header fields first.
    ///   - body: sent as flow control allows; nil or empty ends the stream with the headers.
    ///   - tag: passed to the delegate with every event of the stream.
    /// - Returns: the stream ID.
    package func submitRequest(
        _ headers: HTTP2Headers, body: HTTP2Body?, tag: UInt32
    ) throws(HTTP2SessionError) -> Int32 {
        let slot = bodies.add(body)
        let user = StreamTag(tag: tag, bodySlot: slot).pointer
        let stream = headers.withFields(fields) { fields, count in
            OutgoingBodies.withProvider(slot: slot) { provider in
                nghttp2_submit_request(session, nil, fields, count, provider, user)
            }
        }
        guard stream > 0 else {
            bodies.remove(slot)
            throw HTTP2SessionError(libraryCode: stream)
        }
        lastSubmittedStream = stream
        bodies.setStream(stream, of: slot)
        unsentRequests.append(stream: stream, tag: tag, bodySlot: slot)
        return stream
    }

    // MARK: Server

    /// Sets the tag of a stream that the peer opened; it is passed to the delegate with every later event of the
    /// stream.
    package func setTag(_ tag: UInt32, of stream: Int32) {
        nghttp2_session_set_stream_user_data(session, stream, StreamTag(tag: tag, bodySlot: nil).pointer)
    }

    /// Queues a complete response.
    package func respond(
        _ headers: HTTP2Headers, body: HTTP2Body? = nil, to stream: Int32
    ) throws(HTTP2SessionError) {
        let slot = bodies.add(body)
        if let slot {
            bodies.setStream(stream, of: slot)
            let tag = tag(of: stream).tag
            nghttp2_session_set_stream_user_data(session, stream, StreamTag(tag: tag, bodySlot: slot).pointer)
        }
        let result = headers.withFields(fields) { fields, count in
            OutgoingBodies.withProvider(slot: slot) { provider in
                nghttp2_submit_response(session, stream, fields, count, provider)
            }
        }
        guard result == 0 else {
            bodies.remove(slot)
            throw HTTP2SessionError(libraryCode: result)
        }
    }

    // MARK: Both sides

    package func submitSettings(_ settings: HTTP2Settings) {
        var entries = settings.entries
        let result = nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), &entries, entries.count)
        precondition(result == 0, "libnghttp2 rejects the settings: \(result)")
    }

    /// Resets a stream; `streamClosed` follows when the frame is serialized. Does nothing for an unknown stream.
    package func reset(_ stream: Int32, code: HTTP2ErrorCode) {
        nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code.rawValue)
    }

    /// Sends a PING; the peer returns the number.
    package func ping(_ number: UInt64) {
        withUnsafeBytes(of: number.bigEndian) { bytes in
            _ = nghttp2_submit_ping(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
            )
        }
    }

    /// Announces that streams above `lastStream` are not and will not be processed. The session continues.
    package func submitGoAway(lastStream: Int32, code: HTTP2ErrorCode, debugData: [UInt8] = []) {
        nghttp2_submit_goaway(
            session, UInt8(NGHTTP2_FLAG_NONE.rawValue), lastStream, code.rawValue, debugData, debugData.count
        )
    }

    /// Sets how many bytes the peer may send on the whole connection before it must wait for a window update.
    package func setConnectionReceiveWindow(_ bytes: Int32) {
        nghttp2_session_set_local_window_size(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, bytes)
    }

    /// The highest stream opened by the peer that has been processed.
    package var lastProcessedStream: Int32 { nghttp2_session_get_last_proc_stream_id(session) }

    /// Client: the last stream that `submitRequest` opened; 0 before the first.
    package private(set) var lastSubmittedStream: Int32 = 0

    /// How many concurrent streams the peer allows; before its SETTINGS, `HTTP2Limits.streamsBeforeSettings`.
    package var remoteStreamsMax: UInt32 {
        nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
    }

    /// How many bytes of bodies the peer currently accepts on the whole connection.
    package var connectionSendWindow: Int32 { nghttp2_session_get_remote_window_size(session) }

    /// Bodies that are not completely sent, and slots allocated for bodies so far. Used by tests to detect leaks.
    package var bodiesHeld: (used: Int, slots: Int) { bodies.held }

    // MARK: Library callbacks

    private func tag(of stream: Int32) -> StreamTag {
        StreamTag(nghttp2_session_get_stream_user_data(session, stream))
    }

    fileprivate func headersBegan(_ stream: Int32) -> Int32 {
        headerBytesReceived = 0
        delegate?.headersBegan(stream: stream, tag: tag(of: stream).tag)
        return 0
    }

    fileprivate func headerReceived(
        _ stream: Int32, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer
    ) -> Int32 {
        headerBytesReceived += name.count + value.count + 32
        // Resets this stream alone; the HPACK state stays in step because the library continues to decode.
        guard headerBytesReceived <= limits.headerListBytesMax else {
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
        }
        delegate?.headerReceived(name: name, value: value, stream: stream, tag: tag(of: stream).tag)
        return 0
    }

    fileprivate func dataReceived(_ stream: Int32, _ bytes: UnsafeRawBufferPointer) -> Int32 {
        delegate?.dataReceived(bytes, stream: stream, tag: tag(of: stream).tag)
        return 0
    }

    fileprivate func frameReceived(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
        let header = frame.pointee.hd
        let stream = header.stream_id
        switch nghttp2_frame_type(rawValue: UInt32(header.type)) {
        case NGHTTP2_HEADERS:
            let tag = tag(of: stream).tag
            delegate?.headersEnded(stream: stream, tag: tag)
            if header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 {
                delegate?.messageEnded(stream: stream, tag: tag)
            }
        case NGHTTP2_DATA:
            if header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 {
                delegate?.messageEnded(stream: stream, tag: tag(of: stream).tag)
            }
        case NGHTTP2_SETTINGS:
            let isAcknowledgement = header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0
            if isAcknowledgement { delegate?.settingsAcknowledged() } else { delegate?.settingsReceived() }
        case NGHTTP2_PING:
            if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 {
                let number = withUnsafeBytes(of: frame.pointee.ping.opaque_data) { $0.loadUnaligned(as: UInt64.self) }
                delegate?.pingAcknowledged(UInt64(bigEndian: number))
            }
        case NGHTTP2_GOAWAY:
            let goAway = frame.pointee.goaway
            let debugData = [UInt8](
                UnsafeRawBufferPointer(
                    start: goAway.opaque_data, count: min(goAway.opaque_data_len, limits.debugDataBytesMax)
                )
            )
            delegate?.goAwayReceived(
                HTTP2GoAway(
                    lastStream: goAway.last_stream_id, code: HTTP2ErrorCode(rawValue: goAway.error_code),
                    debugData: debugData
                )
            )
        default: break
        }
        return 0
    }

    fileprivate func streamClosed(_ stream: Int32, _ code: UInt32) -> Int32 {
        guard stream != streamNotSent else { return 0 }
        let tag = tag(of: stream)
        bodies.remove(tag.bodySlot, of: stream)
        delegate?.streamClosed(stream: stream, tag: tag.tag, code: HTTP2ErrorCode(rawValue: code))
        return 0
    }

    fileprivate func frameSent(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
        guard role == .client else { return 0 }
        let header = frame.pointee.hd
        let isEnd = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        if UInt32(header.type) == NGHTTP2_DATA.rawValue {
            if isEnd { delegate?.requestEnded(stream: header.stream_id, tag: tag(of: header.stream_id).tag) }
        } else if isRequest(frame), let request = unsentRequests.removeFirst(header.stream_id) {
            delegate?.requestWritten(stream: header.stream_id, tag: request.tag)
            if isEnd { delegate?.requestEnded(stream: header.stream_id, tag: request.tag) }
        }
        return 0
    }

    fileprivate func frameNotSent(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
        let stream = frame.pointee.hd.stream_id
        guard role == .client, isRequest(frame), let request = unsentRequests.removeFirst(stream) else { return 0 }
        bodies.remove(request.bodySlot, of: stream)
        streamNotSent = stream
        delegate?.requestNotSent(stream: stream, tag: request.tag)
        return 0
    }

    private func isRequest(_ frame: UnsafePointer<nghttp2_frame>) -> Bool {
        UInt32(frame.pointee.hd.type) == NGHTTP2_HEADERS.rawValue && frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST
    }

    fileprivate func readBody(
        slot: Int, into output: UnsafeMutableRawBufferPointer, flags: UnsafeMutablePointer<UInt32>
    ) -> Int {
        let (count, isAtEnd) = bodies.read(slot: slot, into: output)
        if isAtEnd { flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue }
        return count
    }
}

// MARK: - The bridge from C

extension HTTP2Session {
    /// The object behind the `user_data` of a callback.
    private static func from(_ user: UnsafeMutableRawPointer?) -> HTTP2Session {
        Unmanaged<HTTP2Session>.fromOpaque(user!).takeUnretainedValue()
    }

    private static func makeSession(role: Role, limits: HTTP2Limits) -> OpaquePointer {
        var callbacks: OpaquePointer?
        var option: OpaquePointer?
        precondition(nghttp2_session_callbacks_new(&callbacks) == 0, "out of memory")
        precondition(nghttp2_option_new(&option) == 0, "out of memory")
        defer {
            nghttp2_session_callbacks_del(callbacks)
            nghttp2_option_del(option)
        }
        installCallbacks(callbacks)

        // Closed streams are needed for priorities only, which both sides ignore.
        nghttp2_option_set_no_closed_streams(option, 1)
        nghttp2_option_set_no_auto_window_update(option, limits.enlargesWindows ? 0 : 1)
        nghttp2_option_set_max_outbound_ack(option, limits.outboundAcknowledgementsMax)
        nghttp2_option_set_max_settings(option, limits.settingsEntriesMax)
        nghttp2_option_set_peer_max_concurrent_streams(option, limits.streamsBeforeSettings)

        var session: OpaquePointer?
        let result =
            switch role {
            case .client: nghttp2_session_client_new2(&session, callbacks, nil, option)
            case .server: nghttp2_session_server_new2(&session, callbacks, nil, option)
            }
        guard result == 0, let session else { fatalError("out of memory") }
        return session
    }

    private static func installCallbacks(_ callbacks: OpaquePointer?) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
            HTTP2Session.from(user).headersBegan(frame!.pointee.hd.stream_id)
        }
        nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, frame, name, nameLength, value, valueLength, _, user in
            HTTP2Session.from(user).headerReceived(
                frame!.pointee.hd.stream_id, UnsafeRawBufferPointer(start: name, count: nameLength),
                UnsafeRawBufferPointer(start: value, count: valueLength)
            )
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, stream, data, length, user in
            HTTP2Session.from(user).dataReceived(stream, UnsafeRawBufferPointer(start: data, count: length))
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
            HTTP2Session.from(user).frameReceived(frame!)
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, stream, code, user in
            HTTP2Session.from(user).streamClosed(stream, code)
        }
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, user in
            HTTP2Session.from(user).frameSent(frame!)
        }
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks) { _, frame, _, user in
            HTTP2Session.from(user).frameNotSent(frame!)
        }
    }

    /// Called by the library for each DATA frame, with as many bytes as flow control allows.
    fileprivate static let bodyReader: nghttp2_data_source_read_callback = {
        _, _, output, length, flags, source, user in
        HTTP2Session.from(user).readBody(
            slot: Int(source!.pointee.fd), into: UnsafeMutableRawBufferPointer(start: output, count: length),
            flags: flags!
        )
    }
}

// MARK: - Bodies and tags

/// A stream's user data: the delegate's tag and the body slot, packed into the pointer that the library stores.
private struct StreamTag {
    var tag: UInt32
    var bodySlot: Int?

    init(tag: UInt32, bodySlot: Int?) {
        self.tag = tag
        self.bodySlot = bodySlot
    }

    init(_ pointer: UnsafeMutableRawPointer?) {
        let bits = UInt(bitPattern: pointer)
        tag = UInt32(truncatingIfNeeded: bits)
        bodySlot = bits >> 32 == 0 ? nil : Int(bits >> 32) - 1
    }

    // SAFETY: never dereferenced; the library only stores and returns it.
    var pointer: UnsafeMutableRawPointer? {
        UnsafeMutableRawPointer(bitPattern: UInt(tag) | UInt((bodySlot ?? -1) + 1) << 32)
    }
}

/// Bodies being sent, in reusable slots. Bounded by the number of open streams.
private struct OutgoingBodies {
    private struct Slot {
        var bytes: [UInt8] = []
        var range = 0..<0
        var position = 0
        /// Bytes still to be sent; more than are left in the range if the range is sent repeatedly.
        var remaining = 0
        var stream: Int32 = 0
        var isUsed = false
    }

    private var slots: [Slot] = []
    private var free: [Int] = []

    var held: (used: Int, slots: Int) { (slots.count - free.count, slots.count) }

    mutating func add(_ body: HTTP2Body?) -> Int? {
        guard let body, body.count > 0 else { return nil }
        let slot = free.popLast() ?? slots.count
        if slot == slots.count { slots.append(Slot()) }
        slots[slot] = Slot(
            bytes: body.bytes, range: body.range, position: body.range.lowerBound, remaining: body.count, stream: 0,
            isUsed: true
        )
        return slot
    }

    mutating func setStream(_ stream: Int32, of slot: Int?) {
        if let slot { slots[slot].stream = stream }
    }

    /// Frees a slot if it still belongs to `stream`: a completely sent body has already freed it.
    mutating func remove(_ slot: Int?, of stream: Int32? = nil) {
        guard let slot, slots[slot].isUsed, stream == nil || slots[slot].stream == stream else { return }
        slots[slot] = Slot()
        free.append(slot)
    }

    mutating func read(slot: Int, into output: UnsafeMutableRawBufferPointer) -> (count: Int, isAtEnd: Bool) {
        let count = min(output.count, slots[slot].remaining)
        var written = 0
        while written < count {
            let start = slots[slot].position
            let end = min(slots[slot].range.upperBound, start + count - written)
            slots[slot].bytes.withUnsafeBytes { bytes in
                UnsafeMutableRawBufferPointer(rebasing: output[written...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
            }
            written += end - start
            slots[slot].position = end == slots[slot].range.upperBound ? slots[slot].range.lowerBound : end
        }
        slots[slot].remaining -= count
        let isAtEnd = slots[slot].remaining == 0
        if isAtEnd { remove(slot) }
        return (count, isAtEnd)
    }

    /// Calls `body` with the data provider for a slot, or with nil without a slot.
    static func withProvider(slot: Int?, _ body: (UnsafePointer<nghttp2_data_provider>?) -> Int32) -> Int32 {
        guard let slot else { return body(nil) }
        let provider = nghttp2_data_provider(
            source: nghttp2_data_source(fd: Int32(slot)), read_callback: HTTP2Session.bodyReader
        )
        return withUnsafePointer(to: provider) { body($0) }
    }
}

/// A first-in, first-out list: the library serializes requests in the order of their stream IDs.
private struct UnsentRequests {
    struct Request {
        var stream: Int32
        var tag: UInt32
        var bodySlot: Int?
    }

    private var requests: [Request] = []
    private var head = 0

    mutating func append(stream: Int32, tag: UInt32, bodySlot: Int?) {
        requests.append(Request(stream: stream, tag: tag, bodySlot: bodySlot))
    }

    mutating func removeFirst(_ stream: Int32) -> Request? {
        guard head < requests.count, requests[head].stream == stream else { return nil }
        defer {
            head += 1
            if head == requests.count {
                requests.removeAll(keepingCapacity: true)
                head = 0
            }
        }
        return requests[head]
    }
}
