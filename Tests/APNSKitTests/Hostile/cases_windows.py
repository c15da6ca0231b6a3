"""Flow control and the sizes in SETTINGS."""

import struct
import time

from cases import case
from cases_floods import PUSHES
from peer import (
    DATA, ENABLE_PUSH, FRAME_MAX, HEADERS, INITIAL_WINDOW, STREAMS_MAX, TABLE_SIZE, frame, settings, window_update,
)

STREAMS = (STREAMS_MAX, 100)


def opened(peer, count):
    """Waits until `count` requests have begun; they may be incomplete."""
    peer.read(lambda: len(peer.requests) >= count)
    return list(peer.requests.values())


def wrong(name, data, entries=(STREAMS,)):
    @case(name)
    def play(peer):
        peer.start(entries)
        requests = peer.read_requests(PUSHES)
        peer.send(data(requests))
        peer.linger()


wrong("window-overflow-of-connection", lambda requests: window_update(0, (1 << 31) - 1))
wrong("window-zero-of-connection", lambda requests: window_update(0, 0))
wrong("window-update-of-wrong-size", lambda requests: frame(8, 0, 0, b"123"))
wrong("window-update-of-idle-stream", lambda requests: window_update(2001, 1))
wrong("initial-window-too-large", lambda requests: settings([(INITIAL_WINDOW, 1 << 31)]))
wrong("frame-size-too-small", lambda requests: settings([(FRAME_MAX, 100)]))
wrong("frame-size-too-large", lambda requests: settings([(FRAME_MAX, 1 << 24)]))


@case("window-overflow-of-stream")
def window_overflow_of_stream(peer):
    peer.start([STREAMS, (INITIAL_WINDOW, 20)])
    requests = opened(peer, PUSHES)
    # Twice, because the part of its window that a request has used depends on timing.
    peer.send(b"".join(window_update(request.stream, (1 << 31) - 1) * 2 for request in requests))
    peer.read(lambda: len(peer.resets) >= PUSHES)
    peer.send(settings([(INITIAL_WINDOW, 65535)]))
    peer.serve()


@case("window-zero-of-stream")
def window_zero_of_stream(peer):
    peer.start([STREAMS, (INITIAL_WINDOW, 20)])
    peer.send(window_update(opened(peer, PUSHES)[0].stream, 0))
    peer.linger()


@case("data-over-connection-window")
def data_over_connection_window(peer):
    peer.start()
    request = peer.read_requests(PUSHES)[0]
    request.result = "accepted"
    peer.send(peer.headers(request.stream, [(":status", "200")]) + frame(DATA, 0, request.stream, b"x" * 16384) * 64)
    peer.linger()


@case("no-window-then-some")
def no_window_then_some(peer):
    peer.start([STREAMS, (INITIAL_WINDOW, 0)])
    opened(peer, PUSHES)
    peer.send(settings([(INITIAL_WINDOW, 65535)]))
    peer.serve()


@case("no-window-then-by-stream")
def no_window_then_by_stream(peer):
    peer.start([STREAMS, (INITIAL_WINDOW, 0)])
    for request in opened(peer, PUSHES):
        # One byte per update first.
        for _ in range(20):
            peer.send(window_update(request.stream, 1))
        peer.send(window_update(request.stream, 65535))
    peer.send(settings([(INITIAL_WINDOW, 65535)]))
    peer.serve()


@case("no-window-ever")
def no_window_ever(peer):
    peer.start([STREAMS, (INITIAL_WINDOW, 0)])
    peer.read(lambda: False, timeout=60)


@case("window-shrinks-below-zero")
def window_shrinks_below_zero(peer):
    peer.start([STREAMS, (INITIAL_WINDOW, 60)])
    requests = opened(peer, PUSHES)
    peer.read(lambda: all(request.body_bytes == 60 for request in requests))
    # The bytes already sent make each window negative: -50.
    peer.send(settings([(INITIAL_WINDOW, 10)]))
    for request in requests:
        peer.send(window_update(request.stream, 50))
    time.sleep(0.1)
    for request in requests:
        peer.send(window_update(request.stream, 1000))
    for request in peer.read_requests(PUSHES):
        peer.answer(request)
    peer.send(settings([(INITIAL_WINDOW, 65535)]))
    peer.serve()


@case("sizes-change-all-the-time")
def sizes_change_all_the_time(peer):
    """Changes every setting that a server may change, up and down, between answers."""
    peer.start()
    sizes = [0, 4096, 65536, 100, (1 << 32) - 1, 1]
    frames = [16384, (1 << 24) - 1, 16385, 1 << 20]
    for round in range(48):
        peer.send(settings([
            (TABLE_SIZE, sizes[round % len(sizes)]), (FRAME_MAX, frames[round % len(frames)]),
            (INITIAL_WINDOW, [65535, (1 << 31) - 1, 1000][round % 3]), (ENABLE_PUSH, 0), (0xF00D, round),
        ]))
        if round >= 40:
            peer.answer(peer.read_requests(1)[0])
    peer.serve()
