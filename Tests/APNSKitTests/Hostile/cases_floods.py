"""Floods. Each ends when the client closes the connection, or after FLOOD_BYTES."""

from cases import case
from peer import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, SETTINGS, frame, goaway, rst, settings,
    window_update,
)

# The most bytes that a case sends.
FLOOD_BYTES = 48 << 20
# The same for floods of tiny frames, which cost a client more.
TINY_FLOOD_BYTES = 6 << 20
STATUS_200 = [(":status", "200")]
PUSHES = 8


def flood(peer, chunk, total=FLOOD_BYTES):
    """Writes `chunk` repeatedly, reading nothing."""
    many = chunk * max(1, 16384 // len(chunk))
    for _ in range(total // len(many)):
        peer.send(many)


@case("continuation-flood")
def continuation_flood(peer):
    peer.start()
    request = peer.read_requests(PUSHES)[0]
    peer.send(frame(HEADERS, 0, request.stream, peer.encoder.encode(STATUS_200)))
    field = b"\x00\x01a\x7f\x80\x01" + b"x" * 255
    flood(peer, frame(CONTINUATION, 0, request.stream, field))


@case("continuation-flood-empty")
def continuation_flood_empty(peer):
    peer.start()
    request = peer.read_requests(PUSHES)[0]
    peer.send(frame(HEADERS, 0, request.stream, peer.encoder.encode(STATUS_200)))
    flood(peer, frame(CONTINUATION, 0, request.stream))


@case("rst-flood-open")
def rst_flood_open(peer):
    peer.start()
    for request in peer.read_requests(PUSHES):
        peer.send(rst(request.stream, 8) * 10_000)
    peer.serve()


@case("rst-flood-closed")
def rst_flood_closed(peer):
    peer.start()
    for request in peer.read_requests(PUSHES):
        peer.answer(request)
        peer.send(rst(request.stream, 8) * 10_000)
    peer.serve()


@case("rst-flood-idle")
def rst_flood_idle(peer):
    peer.start()
    peer.read_requests(PUSHES)
    flood(peer, rst(2001, 8))


@case("settings-flood")
def settings_flood(peer):
    peer.start()
    peer.read_requests(PUSHES)
    flood(peer, settings([(3, 100)]))
    peer.linger()


@case("settings-ack-flood")
def settings_ack_flood(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    flood(peer, settings(ack=True), TINY_FLOOD_BYTES)
    for request in requests:
        peer.answer(request)
    peer.serve()


@case("settings-huge")
def settings_huge(peer):
    peer.start()
    peer.read_requests(PUSHES)
    peer.send(settings([(0x1000 + n, n) for n in range(2700)]))
    peer.linger()


@case("settings-larger-than-a-frame")
def settings_larger_than_a_frame(peer):
    peer.start()
    peer.read_requests(PUSHES)
    peer.send(settings([(0x1000 + n, n) for n in range(10_000)]))
    peer.linger()


@case("ping-flood")
def ping_flood(peer):
    peer.start()
    peer.read_requests(PUSHES)
    flood(peer, frame(PING, 0, 0, b"12345678"))
    peer.linger()


@case("ping-flood-answers-read")
def ping_flood_answers_read(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    for round in range(200):
        peer.send(frame(PING, 0, 0, b"12345678") * 100)
        wanted = (round + 1) * 100
        peer.read(lambda: peer.report.frames["PING"] >= wanted)
    for request in requests:
        peer.answer(request)
    peer.serve()


@case("ping-ack-flood")
def ping_ack_flood(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    flood(peer, frame(PING, ACK, 0, b"12345678"), TINY_FLOOD_BYTES)
    for request in requests:
        peer.answer(request)
    peer.serve()


@case("empty-data-flood")
def empty_data_flood(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    for request in requests:
        peer.send(peer.headers(request.stream, STATUS_200))
        request.result = "accepted"
    flood(peer, frame(DATA, 0, requests[0].stream), TINY_FLOOD_BYTES)
    peer.serve()


@case("padding-flood")
def padding_flood(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    peer.send(peer.headers(requests[0].stream, STATUS_200))
    requests[0].result = "accepted"
    padding = frame(DATA, PADDED, requests[0].stream, b"\xff" + b"\x00" * 255)
    # As far as the windows allow, which include padding.
    for _ in range(2000):
        peer.read(lambda: min(peer.window, peer.streams_window[requests[0].stream]) >= len(padding))
        peer.window -= len(padding) - 9
        peer.streams_window[requests[0].stream] -= len(padding) - 9
        peer.send(padding)
    peer.send(frame(DATA, END_STREAM, requests[0].stream))
    for request in requests[1:]:
        peer.answer(request)
    peer.serve()


@case("window-update-flood")
def window_update_flood(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    flood(peer, window_update(0, 1) + window_update(requests[0].stream, 1), TINY_FLOOD_BYTES)
    for request in requests:
        peer.answer(request)
    peer.serve()


@case("unknown-frames-flood")
def unknown_frames_flood(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    flood(peer, frame(0xAB, 0xFF, requests[0].stream, b"whatever") + frame(0xFE, 0, 0, b"x" * 1000))
    for request in requests:
        peer.answer(request)
    peer.serve()


@case("unknown-frames-endless")
def unknown_frames_endless(peer):
    """Answers neither pushes nor PINGs, but never stops sending."""
    peer.start()
    peer.read_requests(PUSHES)
    flood(peer, frame(0xAB, 0, 0, b"x" * 1000) * 16, 1 << 40)


@case("goaway-flood")
def goaway_flood(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    flood(peer, goaway(requests[-1].stream, 0, b"x" * 4000))
    peer.linger()


@case("interim-answers-endless")
def interim_answers_endless(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    interim = b"".join(peer.headers(request.stream, [(":status", "103")]) for request in requests)
    flood(peer, interim, TINY_FLOOD_BYTES)
    peer.serve()


@case("headers-1mib")
def headers_1mib(peer):
    peer.start()
    request = peer.read_requests(PUSHES)[0]
    block = peer.encoder.encode(STATUS_200 + [(f"x-{n}", "y" * 4000) for n in range(262)], huffman=False)
    peer.send(frame(HEADERS, 0, request.stream, block[:16384]))
    rest = block[16384:]
    while rest:
        flags = 0 if len(rest) > 16384 else END_HEADERS
        peer.send(frame(CONTINUATION, flags, request.stream, rest[:16384]))
        rest = rest[16384:]
    peer.linger()


@case("headers-100kib")
def headers_100kib(peer):
    """Few enough frames to be accepted, but too many to read."""
    peer.start()
    requests = peer.read_requests(PUSHES)
    fields = STATUS_200 + [(f"x-{n}", "y" * 4000) for n in range(25)]
    for request in requests:
        block = peer.encoder.encode(fields, huffman=False)
        parts = [block[start:start + 16384] for start in range(0, len(block), 16384)]
        peer.send(frame(HEADERS, 0, request.stream, parts[0]))
        for chunk in parts[1:-1]:
            peer.send(frame(CONTINUATION, 0, request.stream, chunk))
        peer.send(frame(CONTINUATION, END_HEADERS, request.stream, parts[-1]))
    peer.serve()


@case("hpack-bomb")
def hpack_bomb(peer):
    """A field of 4,000 bytes in the table, and 16,000 references of one byte: 64 MB per stream."""
    peer.start()
    requests = peer.read_requests(PUSHES)
    first, others = requests[0], requests[1:]
    block = peer.encoder.encode(STATUS_200 + [("x", "y" * 4000)], huffman=False)
    peer.send(frame(HEADERS, END_HEADERS, first.stream, block + b"\xbe" * 12_000))
    for request in others:
        peer.send(frame(HEADERS, END_HEADERS, request.stream, b"\x88" + b"\xbe" * 16_000))
    peer.serve()


@case("body-100mib-error")
def body_100mib_error(peer):
    endless_body(peer, 400)


@case("body-100mib-ok")
def body_100mib_ok(peer):
    endless_body(peer, 200)


def endless_body(peer, status):
    """Respects the connection window and ignores the reset of the stream."""
    peer.start()
    requests = peer.read_requests(PUSHES)
    for request in requests:
        request.result = "accepted" if status == 200 else "rejected"
        peer.send(peer.headers(request.stream, [(":status", str(status))]))
    peer.answers_requests = True
    sent = 0
    while sent < 100 << 20:
        peer.read(lambda: peer.window >= 16384)
        stream = requests[(sent >> 14) % len(requests)].stream
        if stream not in peer.resets and peer.streams_window[stream] < 16384:
            # The reset is in flight.
            peer.read(lambda: stream in peer.resets or peer.streams_window[stream] >= 16384)
        peer.window -= 16384
        peer.streams_window[stream] -= 16384
        peer.send(frame(DATA, 0, stream, b"x" * 16384))
        sent += 16384
    peer.serve()
