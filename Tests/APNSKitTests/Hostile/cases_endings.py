"""Streams and connections that end: RST_STREAM and GOAWAY in all forms."""

import struct
import time

from cases import case
from cases_floods import PUSHES
from peer import DATA, GOAWAY, STREAMS_MAX, frame, goaway, rst, settings

HIGHEST = (1 << 31) - 1
CODES = range(14)


# RST_STREAM: one stream for each error code

def reset_with_each_code(peer, before):
    for code, request in zip(CODES, peer.read_requests(len(CODES))):
        status = before(code, request)
        if status:
            request.result = "rejected" if status >= 400 else "accepted"
        elif code == 7:
            request.result = "refused"
        peer.send(rst(request.stream, code))
    peer.serve()


@case("rst-before-headers")
def rst_before_headers(peer):
    peer.start()
    reset_with_each_code(peer, lambda code, request: None)


@case("rst-after-headers")
def rst_after_headers(peer):
    def before(code, request):
        peer.send(peer.headers(request.stream, [(":status", "200")]))
        return 200

    peer.start()
    reset_with_each_code(peer, before)


@case("rst-in-body")
def rst_in_body(peer):
    def before(code, request):
        peer.send(peer.headers(request.stream, [(":status", "400")]))
        peer.send(frame(DATA, 0, request.stream, b'{"reason":"Bad'))
        return 400

    peer.start()
    reset_with_each_code(peer, before)


@case("rst-after-interim")
def rst_after_interim(peer):
    def before(code, request):
        peer.send(peer.headers(request.stream, [(":status", "103")]))

    peer.start()
    reset_with_each_code(peer, before)


@case("refused-once")
def refused_once(peer):
    peer.start()
    for request in peer.read_requests(PUSHES):
        peer.refuse(request)
    peer.serve()


@case("refused-forever")
def refused_forever(peer):
    peer.start()
    while True:
        peer.refuse(peer.read_requests(1, timeout=60)[0])


# Missing and late answers

@case("never-answers")
def never_answers(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    peer.read(lambda: len(peer.resets) == len(requests))
    peer.serve()


@case("never-answers-at-all")
def never_answers_at_all(peer):
    peer.start()
    peer.read_requests(PUSHES)
    # Acknowledges PINGs and answers no push.
    peer.read(lambda: False, timeout=60)


@case("falls-silent")
def falls_silent(peer):
    peer.start()
    peer.read_requests(PUSHES)
    peer.linger()


@case("late-answers")
def late_answers(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    peer.read(lambda: len(peer.resets) == len(requests))
    for request in requests:
        peer.answer(request)
    peer.serve()


@case("answers-without-end")
def answers_without_end(peer):
    peer.start()
    for request in peer.read_requests(PUSHES):
        request.result = "accepted"
        peer.send(peer.headers(request.stream, [(":status", "200")]))
    peer.serve()


# GOAWAY

@case("goaway-before-settings")
def goaway_before_settings(peer):
    peer.expect_preface()
    peer.send(goaway(0, 0, b'{"reason":"BadCertificate"}'))
    peer.linger()


@case("goaway-before-settings-text")
def goaway_before_settings_text(peer):
    peer.expect_preface()
    peer.send(goaway(0, 2, b"go away, please"))
    peer.linger()


def goaway_zero(name, debug, code=0):
    @case(name)
    def play(peer):
        peer.start()
        for request in peer.read_requests(PUSHES):
            request.result = "refused"
        peer.send(goaway(0, code, debug))
        peer.linger()


goaway_zero("goaway-zero-json", b'{"reason":"Shutdown"}')
goaway_zero("goaway-zero-credential", b'{"reason":"BadCertificateEnvironment"}', 2)
goaway_zero("goaway-zero-text", b"maximum active streams violated", 11)
goaway_zero("goaway-zero-empty", b"")
goaway_zero("goaway-zero-16-kib", b"x" * 16376)


@case("goaway-of-1-mib")
def goaway_of_1_mib(peer):
    peer.start()
    peer.read_requests(PUSHES)
    peer.send(goaway(0, 0, b"x" * (1 << 20)))
    peer.linger()


@case("goaway-too-short")
def goaway_too_short(peer):
    peer.start()
    peer.read_requests(PUSHES)
    peer.send(frame(GOAWAY, 0, 0, b"1234567"))
    peer.linger()


@case("goaway-in-two-steps")
def goaway_in_two_steps(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    peer.send(goaway(HIGHEST))
    for request in requests[4:]:
        request.result = "refused"
    peer.send(goaway(requests[3].stream))
    for request in requests[:4]:
        peer.answer(request)
    peer.linger()


@case("goaway-twice")
def goaway_twice(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    for request in requests[4:]:
        request.result = "refused"
    peer.send(goaway(requests[3].stream) * 2)
    for request in requests[:4]:
        peer.answer(request)
    peer.linger()


@case("goaway-falls-while-answering")
def goaway_falls_while_answering(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    peer.send(goaway(requests[5].stream))
    peer.answer(requests[0])
    peer.send(goaway(requests[3].stream))
    for request in requests[4:]:
        request.result = "refused"
    for request in requests[1:4]:
        peer.answer(request)
    peer.linger()


@case("goaway-last-rises")
def goaway_last_rises(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    for request in requests[4:]:
        request.result = "refused"
    peer.send(goaway(requests[3].stream) + goaway(requests[6].stream))
    peer.linger()


@case("goaway-last-never-opened")
def goaway_last_never_opened(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    peer.send(goaway(2001))
    for request in requests[:4]:
        peer.answer(request)


@case("goaway-last-even")
def goaway_last_even(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    peer.send(goaway(requests[-1].stream + 1))
    peer.linger()


@case("goaway-then-never-closes")
def goaway_then_never_closes(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    for request in requests[4:]:
        request.result = "refused"
    peer.send(goaway(requests[3].stream))
    peer.linger()


@case("goaway-then-answers-refused-ones")
def goaway_then_answers_refused_ones(peer):
    """Reports pushes as unprocessed, and answers them nevertheless."""
    peer.start()
    requests = peer.read_requests(PUSHES)
    peer.send(goaway(requests[3].stream))
    for request in requests:
        peer.answer(request)
    for request in requests[4:]:
        request.result = "refused"
    peer.linger()


# Stream limits

@case("no-streams-then-some")
def no_streams_then_some(peer):
    peer.start([(STREAMS_MAX, 0)])
    time.sleep(0.3)
    peer.send(settings([(STREAMS_MAX, 100)]))
    peer.serve()


@case("no-streams-ever")
def no_streams_ever(peer):
    peer.start([(STREAMS_MAX, 0)])
    peer.read(lambda: False, timeout=60)


@case("streams-fall-to-one-and-rise")
def streams_fall_to_one_and_rise(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    peer.send(settings([(STREAMS_MAX, 1)]))
    peer.answer(requests[0])
    for request in requests[1:]:
        peer.refuse(request)
    for _ in range(3):
        request = peer.read_requests(1)[0]
        peer.answer(request)
    peer.send(settings([(STREAMS_MAX, 100)]))
    peer.serve()


@case("streams-flutter")
def streams_flutter(peer):
    peer.start()
    for round in range(500):
        peer.send(settings([(STREAMS_MAX, round % 3)]))
    peer.send(settings([(STREAMS_MAX, 4_294_967_295)]))
    peer.serve()
