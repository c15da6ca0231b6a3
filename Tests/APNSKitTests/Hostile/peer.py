"""One connection, frame by frame: what no HTTP/2 library would let a server do."""

import select
import socket
import ssl
import struct
import time

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
STREAMS_MAX, INITIAL_WINDOW, FRAME_MAX, TABLE_SIZE, ENABLE_PUSH = 3, 4, 5, 1, 2


class Gone(Exception):
    """The client has closed the connection, or does not take any more."""


def frame(kind, flags, stream, payload=b""):
    """A frame as it stands on the wire; nothing is checked."""
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def settings(entries=(), ack=False):
    payload = b"".join(struct.pack("!HI", key, value) for key, value in entries)
    return frame(SETTINGS, ACK if ack else 0, 0, payload)


def rst(stream, code):
    return frame(RST, 0, stream, struct.pack("!I", code))


def goaway(last, code=0, debug=b""):
    return frame(GOAWAY, 0, 0, struct.pack("!II", last, code) + debug)


def window_update(stream, bytes_more):
    return frame(WINDOW, 0, stream, struct.pack("!I", bytes_more))


class Peer:
    """The server's end of a hostile connection. Used by one thread."""

    # Longer than any case takes.
    PATIENCE = 20.0

    def __init__(self, sock, number, books):
        self.sock = sock
        self.number = number
        self.books = books
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.buffer = b""
        self.requests = {}
        # Whole requests that no case has looked at.
        self.arrived = []
        self.resets = {}
        self.window = 65535
        self.streams_window = {}
        self.initial_window = 65535
        self.answers_pings = True
        self.acknowledges_settings = True
        self.serves = False

    # Out

    def send(self, data, patience=None):
        """Writes everything, reading nothing."""
        view = memoryview(data)
        deadline = time.monotonic() + (patience or self.PATIENCE)
        while view:
            try:
                view = view[self.sock.send(view):]
            except (ssl.SSLWantWriteError, BlockingIOError):
                if time.monotonic() > deadline:
                    raise Gone("the client does not read")
                select.select([], [self.sock], [], 0.2)
            except (OSError, ValueError) as error:
                raise Gone(str(error))

    def headers(self, stream, fields, end=False, split=False):
        flags = (END_STREAM if end else 0) | END_HEADERS
        return frame(HEADERS, flags, stream, self.encoder.encode(fields))

    def answer(self, request, status=200, body=b""):
        """A proper answer."""
        request.fate = "accepted" if status == 200 else "rejected"
        data = self.headers(
            request.stream, [(":status", str(status)), ("apns-id", request.id)], end=not body
        )
        if body:
            data += frame(DATA, END_STREAM, request.stream, body)
        self.send(data)

    def refuse(self, request):
        request.fate = "refused"
        self.send(rst(request.stream, 7))

    # In

    def start(self, entries=((STREAMS_MAX, 100),)):
        """The preface of both sides."""
        self.expect_preface()
        self.send(settings(entries))

    def expect_preface(self):
        deadline = time.monotonic() + self.PATIENCE
        while len(self.buffer) < len(PREFACE):
            self.fill(deadline)
        if not self.buffer.startswith(PREFACE):
            raise Gone("not the preface of HTTP/2")
        self.buffer = self.buffer[len(PREFACE):]

    def fill(self, deadline):
        """Waits for bytes."""
        while True:
            try:
                data = self.sock.recv(65536)
                if not data:
                    raise Gone("closed by the client")
                self.buffer += data
                return
            except (ssl.SSLWantReadError, BlockingIOError):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                select.select([self.sock], [], [], min(left, 0.2))
            except (OSError, ValueError) as error:
                raise Gone(str(error))

    def read(self, until, patience=None):
        """Takes frames until `until()` holds."""
        deadline = time.monotonic() + (patience or self.PATIENCE)
        while not until():
            while self.take_frame():
                if until():
                    return
            if not until():
                self.fill(deadline)

    def read_requests(self, count, patience=None):
        """The next `count` whole requests."""
        self.read(lambda: len(self.arrived) >= count, patience)
        requests, self.arrived = self.arrived[:count], self.arrived[count:]
        return requests

    def serve(self, patience=60.0):
        """From now on a good server, until the client goes."""
        self.serves = True
        for request in self.arrived:
            self.answer(request)
        self.arrived = []
        try:
            self.read(lambda: False, patience)
        except TimeoutError:
            self.books.failed("the client never went away")

    def linger(self, patience=60.0):
        """Answers nothing any more, until the client goes."""
        self.answers_pings = False
        try:
            self.read(lambda: False, patience)
        except TimeoutError:
            self.books.failed("the client never went away")

    def take_frame(self):
        if len(self.buffer) < 9:
            return False
        parsed, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
        if len(self.buffer) < 9 + length:
            return False
        parsed.parse_body(memoryview(self.buffer[9:9 + length]))
        self.buffer = self.buffer[9 + length:]
        self.took(parsed)
        return True

    def took(self, parsed):
        stream = parsed.stream_id
        if isinstance(parsed, HeadersFrame):
            request = self.books.begin(self.number, stream)
            request.fields = dict(self.decoder.decode(parsed.data))
            self.requests[stream] = request
            self.streams_window[stream] = self.initial_window
        elif isinstance(parsed, DataFrame) and stream in self.requests:
            self.requests[stream].body_bytes += len(parsed.data)
        elif isinstance(parsed, RstStreamFrame):
            self.books.count_frame(f"RST_STREAM:{parsed.error_code}")
            self.resets[stream] = parsed.error_code
        elif isinstance(parsed, SettingsFrame):
            self.took_settings(parsed)
        elif isinstance(parsed, PingFrame):
            self.books.count_frame("PING")
            if self.answers_pings and "ACK" not in parsed.flags:
                self.send(frame(PING, ACK, 0, parsed.opaque_data))
        elif isinstance(parsed, GoAwayFrame):
            self.books.count_frame(f"GOAWAY:{parsed.error_code}")
        elif isinstance(parsed, WindowUpdateFrame):
            self.took_window(stream, parsed.window_increment)
        elif isinstance(parsed, ContinuationFrame):
            self.books.failed("a header block of the client's in two frames")
        if isinstance(parsed, (HeadersFrame, DataFrame)) and "END_STREAM" in parsed.flags and stream in self.requests:
            self.ended(self.requests[stream])

    def took_settings(self, parsed):
        if "ACK" in parsed.flags:
            return
        self.initial_window = parsed.settings.get(INITIAL_WINDOW, self.initial_window)
        if self.acknowledges_settings:
            self.send(settings(ack=True))

    def took_window(self, stream, more):
        if stream == 0:
            self.window += more
        elif stream in self.streams_window:
            self.streams_window[stream] += more

    def ended(self, request):
        request.is_whole = True
        if self.serves:
            self.answer(request)
        else:
            self.arrived.append(request)

    # Ends

    def reset_tcp(self):
        """The kernel says RST, not FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket(fileno=self.sock.detach()).close()
