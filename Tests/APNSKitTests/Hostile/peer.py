"""One connection, frame by frame, without the checks of an HTTP/2 library."""

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


class Disconnected(Exception):
    """The client has closed the connection, or does not read."""


def frame(kind, flags, stream, payload=b""):
    """The bytes of a frame, unchecked."""
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
    """The server's side of a hostile connection. Used by one thread."""

    # Longer than any case needs.
    TIMEOUT = 20.0

    def __init__(self, sock, number, report):
        self.sock = sock
        self.number = number
        self.report = report
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.buffer = b""
        self.requests = {}
        # Complete requests that the case has not read.
        self.arrived = []
        self.resets = {}
        self.window = 65535
        self.streams_window = {}
        self.initial_window = 65535
        self.answers_pings = True
        self.acknowledges_settings = True
        self.answers_requests = False

    # Writing

    def send(self, data, timeout=None):
        """Writes everything, reading nothing."""
        view = memoryview(data)
        deadline = time.monotonic() + (timeout or self.TIMEOUT)
        while view:
            try:
                view = view[self.sock.send(view):]
            except (ssl.SSLWantWriteError, BlockingIOError):
                if time.monotonic() > deadline:
                    raise Disconnected("the client does not read")
                select.select([], [self.sock], [], 0.2)
            except (OSError, ValueError) as error:
                raise Disconnected(str(error))

    def headers(self, stream, fields, end=False, split=False):
        flags = (END_STREAM if end else 0) | END_HEADERS
        return frame(HEADERS, flags, stream, self.encoder.encode(fields))

    def answer(self, request, status=200, body=b""):
        """Sends a valid answer."""
        request.result = "accepted" if status == 200 else "rejected"
        data = self.headers(
            request.stream, [(":status", str(status)), ("apns-id", request.id)], end=not body
        )
        if body:
            data += frame(DATA, END_STREAM, request.stream, body)
        self.send(data)

    def refuse(self, request):
        request.result = "refused"
        self.send(rst(request.stream, 7))

    # Reading

    def start(self, entries=((STREAMS_MAX, 100),)):
        """Exchanges the prefaces."""
        self.expect_preface()
        self.send(settings(entries))

    def expect_preface(self):
        deadline = time.monotonic() + self.TIMEOUT
        while len(self.buffer) < len(PREFACE):
            self.fill(deadline)
        if not self.buffer.startswith(PREFACE):
            raise Disconnected("not the preface of HTTP/2")
        self.buffer = self.buffer[len(PREFACE):]

    def fill(self, deadline):
        """Waits for bytes."""
        while True:
            try:
                data = self.sock.recv(65536)
                if not data:
                    raise Disconnected("closed by the client")
                self.buffer += data
                return
            except (ssl.SSLWantReadError, BlockingIOError):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                select.select([self.sock], [], [], min(left, 0.2))
            except (OSError, ValueError) as error:
                raise Disconnected(str(error))

    def read(self, until, timeout=None):
        """Reads frames until `until()` is true."""
        deadline = time.monotonic() + (timeout or self.TIMEOUT)
        while not until():
            while self.read_frame():
                if until():
                    return
            if not until():
                self.fill(deadline)

    def read_requests(self, count, timeout=None):
        """Reads the next `count` complete requests."""
        self.read(lambda: len(self.arrived) >= count, timeout)
        requests, self.arrived = self.arrived[:count], self.arrived[count:]
        return requests

    def serve(self, timeout=60.0):
        """Answers every request, until the client closes the connection."""
        self.answers_requests = True
        for request in self.arrived:
            self.answer(request)
        self.arrived = []
        try:
            self.read(lambda: False, timeout)
        except TimeoutError:
            self.report.failed("the client did not close the connection")

    def linger(self, timeout=60.0):
        """Answers nothing, until the client closes the connection."""
        self.answers_pings = False
        try:
            self.read(lambda: False, timeout)
        except TimeoutError:
            self.report.failed("the client did not close the connection")

    def read_frame(self):
        if len(self.buffer) < 9:
            return False
        parsed, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
        if len(self.buffer) < 9 + length:
            return False
        parsed.parse_body(memoryview(self.buffer[9:9 + length]))
        self.buffer = self.buffer[9 + length:]
        self.handle_frame(parsed)
        return True

    def handle_frame(self, parsed):
        stream = parsed.stream_id
        if isinstance(parsed, HeadersFrame):
            request = self.report.begin(self.number, stream)
            request.fields = dict(self.decoder.decode(parsed.data))
            self.requests[stream] = request
            self.streams_window[stream] = self.initial_window
        elif isinstance(parsed, DataFrame) and stream in self.requests:
            self.requests[stream].body_bytes += len(parsed.data)
        elif isinstance(parsed, RstStreamFrame):
            self.report.count_frame(f"RST_STREAM:{parsed.error_code}")
            self.resets[stream] = parsed.error_code
        elif isinstance(parsed, SettingsFrame):
            self.handle_settings(parsed)
        elif isinstance(parsed, PingFrame):
            self.report.count_frame("PING")
            if self.answers_pings and "ACK" not in parsed.flags:
                self.send(frame(PING, ACK, 0, parsed.opaque_data))
        elif isinstance(parsed, GoAwayFrame):
            self.report.count_frame(f"GOAWAY:{parsed.error_code}")
        elif isinstance(parsed, WindowUpdateFrame):
            self.handle_window_update(stream, parsed.window_increment)
        elif isinstance(parsed, ContinuationFrame):
            self.report.failed("the client sent a header block in two frames")
        if isinstance(parsed, (HeadersFrame, DataFrame)) and "END_STREAM" in parsed.flags and stream in self.requests:
            self.ended(self.requests[stream])

    def handle_settings(self, parsed):
        if "ACK" in parsed.flags:
            return
        self.initial_window = parsed.settings.get(INITIAL_WINDOW, self.initial_window)
        if self.acknowledges_settings:
            self.send(settings(ack=True))

    def handle_window_update(self, stream, more):
        if stream == 0:
            self.window += more
        elif stream in self.streams_window:
            self.streams_window[stream] += more

    def ended(self, request):
        request.is_complete = True
        if self.answers_requests:
            self.answer(request)
        else:
            self.arrived.append(request)

    # Closing

    def reset_tcp(self):
        """Closes with a TCP reset instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket(fileno=self.sock.detach()).close()
