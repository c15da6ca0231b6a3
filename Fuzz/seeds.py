"""Writes the initial inputs of the fuzzers: FOLDER/ErrorBody, FOLDER/GoAway and FOLDER/Frames.

    .build/tests/python-peers/bin/python Fuzz/seeds.py Fuzz/corpus

The frames are the output of the tests' hostile server: each of its cases runs against a recorded client.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../Tests/APNSKitTests/Hostile"))

from hpack import Encoder  # noqa: E402

import cases  # noqa: E402
from report import Report  # noqa: E402
from peer import (  # noqa: E402
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, Disconnected, Peer, frame, goaway, settings,
)

BYTES_MAX = 2048
PUSHES = 14


class RecordedClient:
    """A socket to a client whose complete output is recorded."""

    def __init__(self):
        encoder = Encoder()
        self.output = PREFACE + settings([(2, 0)]) + settings(ack=True)
        for number in range(PUSHES):
            fields = [
                (":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/3/device/00"),
                ("apns-id", f"00000000-0000-0001-0000-{number:012}"),
            ]
            stream = number * 2 + 1
            self.output += frame(HEADERS, END_HEADERS, stream, encoder.encode(fields))
            self.output += frame(DATA, END_STREAM, stream, b'{"aps":{}}' + b" " * 50)
        self.received = b""

    def recv(self, count):
        if not self.output:
            raise OSError("closed")
        chunk, self.output = self.output[:count], self.output[count:]
        return chunk

    def send(self, data):
        self.received += bytes(data)
        if len(self.received) > BYTES_MAX:
            raise OSError("closed")
        return len(data)

    def __getattr__(self, name):
        # Any other use of the socket ends the connection.
        raise OSError(f"{name}: closed")


def played(case):
    client = RecordedClient()
    try:
        case.play(Peer(client, 0, Report()))
    except (Disconnected, OSError, TimeoutError, TypeError):
        pass
    return client.received[:BYTES_MAX]


def write(folder, target, name, data):
    path = os.path.join(folder, target)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, name), "wb") as file:
        file.write(data)


ERROR_BODIES = {
    "reason": b'{"reason":"BadDeviceToken"}',
    "unregistered": b'{"reason":"Unregistered","timestamp":1700000000000}',
    "unknown": b'{"reason":"BrandNew\\u0007\\ud83d\\ude00"}',
    "nested": b'{"a":[{"reason":"x"}],"reason":"Shutdown","timestamp":-1e400}',
    "html": b"<html><body>502 Bad Gateway</body></html>",
    "cut-off": b'{"reason":"BadDev',
    "not-utf8": b'{"reason":"\xff\xfe"}',
    "lone-surrogate": b'{"reason":"\\ud800"}',
    "twice": b'{"reason":"A","reason":"B","timestamp":1,"timestamp":99999999999999999999}',
    # Found by the fuzzer: the text of the first reason was kept with the second.
    "known-after-unknown": b'{"reason":"BrandNew","reason":"BadTopic"}',
    "deep": b'{"a":' + b"[" * 200 + b"]" * 200 + b',"reason":"BadTopic"}',
    "long": b'{"reason":"' + b"x" * 4080 + b'"}',
    "too-long": b'{"reason":"' + b"x" * 4200 + b'"}',
}


def main(folder):
    time.sleep = lambda seconds: None
    for name, body in ERROR_BODIES.items():
        write(folder, "ErrorBody", name, body)
        write(folder, "GoAway", f"json-{name}", goaway(0, 0, body))
    write(folder, "GoAway", "empty", goaway(7, 11))
    write(folder, "GoAway", "highest", goaway((1 << 31) - 1))
    write(folder, "GoAway", "even", goaway(2, 1))
    write(folder, "GoAway", "on-a-stream", frame(7, 0, 1, b"\0" * 8))
    write(folder, "GoAway", "too-short", frame(7, 0, 0, b"\0" * 7))
    write(folder, "GoAway", "settings-first", settings() + goaway(1, 0, b"later"))
    for case in cases.all_cases.values():
        frames = b"" if case.is_raw else played(case)
        if frames:
            # The first byte sets the chunk size: the largest.
            write(folder, "Frames", case.name, b"\xff" + frames)


main(sys.argv[1])
