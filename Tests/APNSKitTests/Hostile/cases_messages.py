"""Invalid messages and invalid frames."""

import random
import struct

from cases import case
from cases_floods import PUSHES, STATUS_200
from peer import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PRIORITY, PUSH, SETTINGS, frame, settings,
)


def each(name, result="unknown", keeps=True):
    """A case that handles the first eight requests in the same way and then answers all others."""

    def register(play):
        @case(name)
        def whole(peer):
            peer.start()
            for request in peer.read_requests(PUSHES):
                request.result = result
                play(peer, request)
            if keeps:
                peer.serve()
            else:
                peer.linger()

        return play

    return register


def first(name):
    """A case that sends something invalid for the first request, and then nothing more."""

    def register(play):
        @case(name)
        def whole(peer):
            peer.start()
            play(peer, peer.read_requests(PUSHES)[0])
            peer.linger()

        return play

    return register


# Header blocks

@each("upper-case-field")
def upper_case_field(peer, request):
    block = b"\x88" + b"\x00\x06X-Loud\x01y"
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, request.stream, block))


@each("status-missing")
def status_missing(peer, request):
    peer.send(peer.headers(request.stream, [("apns-id", request.id)], end=True))


@each("status-twice")
def status_twice(peer, request):
    peer.send(peer.headers(request.stream, [(":status", "200"), (":status", "400")], end=True))


def odd_status(text):
    @each(f"status-{text}", "rejected" if text == "999" else "unknown")
    def status(peer, request):
        peer.send(peer.headers(request.stream, [(":status", text)], end=True))


for text in ("42", "042", "999", "abc", "101", "1000", "-20"):
    odd_status(text)


@each("status-empty")
def status_empty(peer, request):
    peer.send(peer.headers(request.stream, [(":status", "")], end=True))


@each("status-after-other-fields")
def status_after_other_fields(peer, request):
    peer.send(peer.headers(request.stream, [("apns-id", request.id), (":status", "200")], end=True))


@each("interim-then-200", "accepted")
def interim_then_200(peer, request):
    peer.send(peer.headers(request.stream, [(":status", "100")]) + peer.headers(request.stream, [(":status", "103")]))
    peer.answer(request)


@each("interim-that-ends")
def interim_that_ends(peer, request):
    peer.send(peer.headers(request.stream, [(":status", "103")], end=True))


@each("trailers", "accepted")
def trailers(peer, request):
    peer.send(
        peer.headers(request.stream, STATUS_200) + frame(DATA, 0, request.stream, b"{}")
        + peer.headers(request.stream, [("x-checksum", "1")], end=True)
    )


@each("trailers-with-status", "accepted")
def trailers_with_status(peer, request):
    peer.send(
        peer.headers(request.stream, STATUS_200)
        + peer.headers(request.stream, [(":status", "500")], end=True)
    )


@each("data-before-headers")
def data_before_headers(peer, request):
    peer.send(frame(DATA, END_STREAM, request.stream, b'{"reason":"BadTopic"}'))


@each("data-after-end", "accepted", keeps=False)
def data_after_end(peer, request):
    peer.answer(request)
    peer.send(frame(DATA, END_STREAM, request.stream, b'{"reason":"BadTopic"}'))


@each("content-length-lies", "accepted")
def content_length_lies(peer, request):
    peer.send(
        peer.headers(request.stream, STATUS_200 + [("content-length", "5")])
        + frame(DATA, END_STREAM, request.stream, b"0123456789")
    )


@each("hpack-table-size-changes", "accepted")
def hpack_table_size_changes(peer, request):
    # Table size updates as RFC 7541, section 4.2, allows: zero, small, full.
    peer.encoder.header_table_size = 0
    peer.encoder.header_table_size = 4096
    peer.send(peer.headers(request.stream, STATUS_200 + [("x-id", request.id)], end=True))


@first("hpack-table-size-too-large")
def hpack_table_size_too_large(peer, request):
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, request.stream, b"\x3f\xe1\xff\x03\x88"))


@first("hpack-bad-index")
def hpack_bad_index(peer, request):
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, request.stream, b"\xff\xff\xff\x0f"))


@first("hpack-endless-integer")
def hpack_endless_integer(peer, request):
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, request.stream, b"\x88\x7f" + b"\xff" * 64))


@first("hpack-bad-huffman")
def hpack_bad_huffman(peer, request):
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, request.stream, b"\x88\x00\x84\xff\xff\xff\xff\x01y"))


# Streams that do not exist

@first("answer-to-idle-stream")
def answer_to_idle_stream(peer, request):
    peer.send(peer.headers(2001, STATUS_200, end=True))


@first("answer-on-even-stream")
def answer_on_even_stream(peer, request):
    peer.send(peer.headers(2, STATUS_200, end=True))


@first("data-on-idle-stream")
def data_on_idle_stream(peer, request):
    peer.send(frame(DATA, END_STREAM, 2001, b"x"))


@first("answer-on-stream-zero")
def answer_on_stream_zero(peer, request):
    peer.send(peer.headers(0, STATUS_200, end=True))


def promise(peer, request):
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")]
    block = struct.pack("!I", 2) + peer.encoder.encode(fields)
    peer.send(frame(PUSH, END_HEADERS, request.stream, block) + peer.headers(2, STATUS_200, end=True))


@first("push-promise")
def push_promise(peer, request):
    promise(peer, request)


@case("push-promise-before-settings-ack")
def push_promise_before_settings_ack(peer):
    peer.acknowledges_settings = False
    peer.start()
    promise(peer, peer.read_requests(PUSHES)[0])
    peer.linger()


# Frames

@first("frame-too-large")
def frame_too_large(peer, request):
    peer.send(peer.headers(request.stream, [(":status", "103")]) + frame(DATA, 0, request.stream, b"x" * 20_000))


@first("frame-of-16-mib")
def frame_of_16_mib(peer, request):
    peer.send(frame(DATA, 0, request.stream, b"x" * ((1 << 24) - 1)))


@first("padding-longer-than-frame")
def padding_longer_than_frame(peer, request):
    peer.send(frame(DATA, PADDED, request.stream, b"\xff" + b"\x00" * 10))


@first("headers-padding-longer-than-frame")
def headers_padding_longer_than_frame(peer, request):
    peer.send(frame(HEADERS, PADDED | END_HEADERS | END_STREAM, request.stream, b"\xff\x88"))


@first("ping-of-wrong-size")
def ping_of_wrong_size(peer, request):
    peer.send(frame(PING, 0, 0, b"1234567"))


@first("settings-of-wrong-size")
def settings_of_wrong_size(peer, request):
    peer.send(frame(SETTINGS, 0, 0, b"12345"))


@first("settings-on-a-stream")
def settings_on_a_stream(peer, request):
    peer.send(frame(SETTINGS, 0, request.stream))


@first("continuation-of-nothing")
def continuation_of_nothing(peer, request):
    peer.send(frame(CONTINUATION, END_HEADERS, request.stream, b"\x88"))


@first("headers-interrupted")
def headers_interrupted(peer, request):
    peer.send(frame(HEADERS, 0, request.stream, b"\x88") + frame(PING, 0, 0, b"12345678"))


@first("enable-push-by-server")
def enable_push_by_server(peer, request):
    peer.send(settings([(2, 1)]))


@each("priority-frames", "accepted")
def priority_frames(peer, request):
    depends_on_itself = struct.pack("!IB", request.stream, 255)
    peer.send(frame(PRIORITY, 0, request.stream + 200, struct.pack("!IB", request.stream, 1)) * 100)
    peer.send(frame(PRIORITY, 0, request.stream + 400, depends_on_itself))
    peer.answer(request)


@first("garbage-after-settings")
def garbage_after_settings(peer, request):
    # Begins with the length of an oversized frame, so that the client does not wait for the rest.
    peer.send(b"\xff\xff\xff" + random.Random(1).randbytes(4096))


@case("garbage-instead-of-settings")
def garbage_instead_of_settings(peer):
    peer.expect_preface()
    peer.send(random.Random(2).randbytes(4096))
    peer.linger()


@case("ping-instead-of-settings")
def ping_instead_of_settings(peer):
    peer.expect_preface()
    peer.send(frame(PING, 0, 0, b"12345678"))
    peer.linger()


@case("settings-ack-instead-of-settings")
def settings_ack_instead_of_settings(peer):
    peer.expect_preface()
    peer.send(settings(ack=True))
    peer.linger()


@case("frame-torn-off")
def frame_torn_off(peer):
    peer.start()
    request = peer.read_requests(PUSHES)[0]
    peer.send(peer.headers(request.stream, STATUS_200, end=True)[:-1])
