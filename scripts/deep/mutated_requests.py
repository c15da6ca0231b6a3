#!/usr/bin/env -S python3 -B
"""Sends mutated requests to every route of a gateway, and checks each response and what became of the pushes.

    scripts/deep/mutated_requests.py [COUNT [SEED]]     6,000 requests by default; RELEASE_DIR=FOLDER uses the executable there

First every method goes to every route. Then valid requests of all routes are mutated in their line, header, framing or body. For each
mutation it is known which statuses are right. In addition, for every response:

- It is a well-formed HTTP/1.1 message that arrives within 10 seconds, and it has an `X-Request-Id`.
- A status of 400 or more comes with a problem document (RFC 9457) of the same status and the same `request_id`, and without a token.
- No status is 500 or more, apart from 501 and 505 where a request asks for what HTTP servers need not have.

In the end, as many pushes have reached the APNs simulator as were accepted: no push that was refused arrives.

The same seed gives the same requests. Exit status: 0 when all of that holds, 1 when something does not.
"""

import collections
import json
import os
import random
import re
import socket
import subprocess
import sys

import support
from support import APP, check, wait_for, write

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "CONNECT"]
JSON, LINES = "application/json", "application/x-ndjson"
OK = {200}
# The status of a request that is not HTTP, or that asks for a version or method that no route has.
BAD = {400}
# What an altered body or query can lead to. 409 and 422: an idempotency key that was used before.
CALLER = {200, 400, 403, 404, 405, 409, 411, 413, 414, 415, 417, 421, 422, 431}


class Unreadable(Exception):
    """The bytes of the gateway are not a response."""


class Request:
    """The parts of a request, and the statuses that are right for it."""

    def __init__(self, method, path, kind=None, body=b"", allowed=OK):
        self.method, self.path, self.version = method, path, "HTTP/1.1"
        self.separator, self.line_end = " ", "\r\n"
        self.headers = [("Host", "localhost")]
        if kind:
            self.headers.append(("Content-Type", kind))
        self.body = body
        self.framing = None
        self.allowed = set(allowed)
        self.cut = None
        self.pieces = 1
        self.prefix = b""
        self.mutation = "none"

    @property
    def has_body(self):
        return self.method in ("POST", "PUT", "PATCH") or bool(self.body)

    def set(self, name, value):
        self.remove(name)
        self.headers.append((name, value))

    def remove(self, name):
        self.headers = [(known, value) for known, value in self.headers if known.lower() != name.lower()]

    def bytes(self):
        headers = list(self.headers)
        body = self.body
        if self.framing:
            more, body = self.framing
            headers += more
        elif self.has_body:
            headers.append(("Content-Length", str(len(body))))
        line = self.separator.join([self.method, self.path, self.version])
        head = self.line_end.join([line] + [f"{name}:{'' if value == '' else ' '}{value}" for name, value in headers])
        data = self.prefix + (head + self.line_end * 2).encode("utf-8", "surrogateescape") + body
        return data if self.cut is None else data[: self.cut]


def chunked(body, generator, extension="", trailers="", end=True):
    """A chunked body, cut at random places."""
    data, position = b"", 0
    while position < len(body):
        size = generator.randint(1, max(1, len(body) // 2))
        part = body[position : position + size]
        number = f"{len(part):x}"
        data += (number.upper() if generator.random() < 0.5 else number).encode() + extension.encode() + b"\r\n" + part + b"\r\n"
        position += size
    return data + (b"0\r\n" + trailers.encode() + b"\r\n" if end else b"")


# MARK: Valid requests


class Routes:
    """A valid request of each route, with new tokens each time."""

    def __init__(self, generator, id):
        self.generator, self.id = generator, id

    def push(self, **fields):
        push = {"app": APP, "device_token": self.generator.randbytes(32).hex(), "payload": {"aps": {"alert": "Tea is ready"}}, **fields}
        return json.dumps(push, ensure_ascii=self.generator.random() < 0.5).encode()

    def all(self):
        """By route, as `GET /` lists it."""
        pushes = [self.push(priority=10), self.push(ttl=600), self.push(collapse_id="a"), self.push(lane="urgent")]
        ids = json.dumps({"ids": [self.id]}).encode()
        lines = b"\n".join(pushes) + b"\n"
        many = json.dumps({
            "app": APP, "device_tokens": [self.generator.randbytes(32).hex() for _ in range(3)], "message": "Tea is ready",
        }).encode()
        batch = self.generator.choice([(JSON, b"[" + b",".join(pushes) + b"]"), (LINES, lines)])
        validate = self.generator.choice([(JSON, pushes[0]), batch])
        query = self.generator.choice([(JSON, ids), (LINES, b'"%s"\n' % self.id.encode())])
        single = self.generator.choice([self.push(), self.push(push_type="background", payload={"aps": {"content-available": 1}}), many])
        return {
            "POST /push": Request("POST", "/push", JSON, single),
            "POST /api/v1/push": Request("POST", "/api/v1/push?strict=false", JSON, self.push()),
            "POST /push/batch": Request("POST", "/push/batch", *batch),
            "POST /api/v1/push/batch": Request("POST", "/api/v1/push/batch", *batch),
            "POST /api/v1/push/validate": Request("POST", "/api/v1/push/validate", *validate),
            "GET /api/v1/messages": Request("GET", f"/api/v1/messages?app={APP}&state=delivered,queued&limit=5"),
            "POST /api/v1/messages/search": Request("POST", "/api/v1/messages/search", JSON, b'{"token":"abcdef0123","limit":5}'),
            "GET /api/v1/messages/{msg_id}": Request("GET", f"/api/v1/messages/{self.id}"),
            # It is settled.
            "DELETE /api/v1/messages/{msg_id}": Request("DELETE", f"/api/v1/messages/{self.id}", allowed={200, 409}),
            "POST /api/v1/messages/query": Request("POST", "/api/v1/messages/query", *query),
            "POST /api/v1/messages/cancel": Request("POST", "/api/v1/messages/cancel", JSON, ids),
            "GET /api/v1/apps": Request("GET", "/api/v1/apps"),
            "POST /api/v1/apps/{app}/pause": Request("POST", "/api/v1/apps/com.example.other/pause"),
            "POST /api/v1/apps/{app}/resume": Request("POST", "/api/v1/apps/com.example.other/resume"),
            "GET /api/v1/dead-letters": Request("GET", "/api/v1/dead-letters?limit=3"),
            "GET /api/v1/dead-letters/{msg_id}": Request("GET", f"/api/v1/dead-letters/{self.id}", allowed={404}),
            "POST /api/v1/dead-letters/replay": Request("POST", "/api/v1/dead-letters/replay", JSON, ids),
            "POST /api/v1/dead-letters/purge": Request("POST", "/api/v1/dead-letters/purge", JSON, ids),
            "GET /api/v1/codes": Request("GET", "/api/v1/codes"),
            "GET /healthz": Request("GET", "/healthz"),
            "GET /readyz": Request("GET", "/readyz"),
            "GET /metrics": Request("GET", "/metrics"),
            "GET /": Request("GET", "/"),
        }


# MARK: Mutations. Each changes a request and sets `allowed`; False: it does not fit.


def other_method(request, generator):
    method = generator.choice(METHODS + ["FOO", "get", "PO ST", "G\x01T", "M" * 3000, ""])
    if method == request.method:
        return False
    head = request.method == "GET" and method == "HEAD"
    request.method = method
    # Another route may have the same path. Without a body, a list of ids is missing. A method that the decoder does not
    # know is no HTTP for it; CONNECT has no path.
    request.allowed = request.allowed if head else {200, 400, 404, 405, 409, 415, 431, 501}


def other_version(request, generator):
    request.version = generator.choice(["HTTP/1.0", "HTTP/1.2", "HTTP/0.9", "HTTP/2.0", "HTTP/3", "http/1.1", "HTTP/11", "HTTP/1.1x", "HTTPS/1.1", ""])
    request.allowed = request.allowed if request.version == "HTTP/1.0" else request.allowed | {400, 505}


def other_path(request, generator):
    path = request.path
    choice = generator.randrange(12)
    if choice == 0:
        request.path = path + "?" + "&" * 20
    elif choice == 1:
        request.path, request.allowed = "http://localhost" + path, request.allowed
        return
    elif choice == 2:
        request.path, request.allowed = "http://evil.example" + path, {421}
        return
    elif choice == 3:
        request.path, request.allowed = path.replace("/", "//", 1), CALLER
        return
    elif choice == 4:
        request.path = path + generator.choice(["/", "/x", "/%2e%2e/", "/..", ";a=b", "%00", "%zz", "%ff%fe", "\u00e9", "#a"])
    elif choice == 5:
        request.path = path.upper()
    elif choice == 6:
        request.path = generator.choice(["*", "", "x", "//", "?", "localhost:80", "/" * 500, "/\x7f", "/a\x00b", "/a\tb"])
    elif choice == 7:
        request.path, request.allowed = path + ("&" if "?" in path else "?") + "a=" + "b" * 20000, {414, 431}
        return
    elif choice == 8:
        request.path = path + ("&" if "?" in path else "?") + generator.choice(["strict=maybe", "strict=true", "limit=0", "limit=x", "after=x", "since=never", "token=xyz", "nosuch=1", "=", "%"])
    elif choice == 9:
        request.path = "/".join("".join(f"%{ord(c):02X}" if generator.random() < 0.3 else c for c in part) for part in path.split("?")[0].split("/"))
    elif choice == 10:
        index = generator.randrange(len(path))
        request.path = path[:index] + generator.choice("aZ0/-.%~\u20ac") + path[index + 1 :]
    else:
        request.path = path[: generator.randrange(1, len(path) + 1)]
    request.allowed = CALLER


def line_spaces(request, generator):
    choice = generator.randrange(4)
    if choice == 0:
        request.separator, request.allowed = generator.choice(["  ", "\t", "\x0b", "\u00a0", ""]), request.allowed | BAD
    elif choice == 1:
        # RFC 9112, 2.2: an empty line before the request is ignored.
        request.prefix = b"\r\n" * generator.randint(1, 2)
    elif choice == 2:
        request.line_end, request.allowed = "\n", request.allowed | BAD
    else:
        request.prefix, request.allowed = generator.randbytes(generator.randint(1, 30)), BAD | {431} | request.allowed


def bad_host(request, generator):
    value = generator.choice([None, "a b", "a/b", "user@localhost", "localhost\x00", "\u00e9", "a\\b", "<a>", "two"])
    request.remove("Host")
    request.allowed = BAD
    if value == "two":
        request.headers = [("Host", "localhost")] + request.headers + [("Host", "localhost")]
    elif value is not None:
        request.headers.insert(0, ("Host", value))


def good_host(request, generator):
    request.set("Host", generator.choice(["", "localhost:8025", "LOCALHOST", "127.0.0.1", "[::1]:80", "localhost.", "a.localhost"]))


def foreign(request, generator):
    name, value, status = generator.choice([
        ("Host", "evil.example", 421), ("Host", "evil.example:80", 421), ("Origin", "https://evil.example", 403), ("Origin", "null", 403),
        ("Sec-Fetch-Site", "cross-site", 403), ("Host", "localhost.evil.example", 421),
    ])
    request.set(name, value)
    request.allowed = {status}


def broken_field(request, generator):
    field = generator.choice([
        ("Bad Name", "x"), ("X\x00", "y"), ("X(y)", "z"), ("", "empty"), ("X", "a\x00b"), ("X", "a\rb"), ("X ", "space"), ("X", "a\x01b"), ("X\u00e9", "y"),
    ])
    request.headers.insert(generator.randint(0, len(request.headers)), field)
    request.allowed = BAD
    if field in [("X", "a\x01b")]:
        request.allowed = request.allowed | OK | CALLER


def harmless_field(request, generator):
    name, value = generator.choice([
        ("Accept", "text/html"), ("Accept", "*/*;q=0.1, x/y"), ("Accept-Encoding", "gzip, br"), ("Connection", "keep-alive"),
        ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("User-Agent", "\u00fc\u20ac"), ("Authorization", "Bearer x.y.z"),
        ("Authorization", "Basic !!!"), ("Range", "bytes=0-1"), ("If-Match", "*"), ("If-None-Match", '"x"'), ("traceparent", "00-x"), ("Cookie", "a=b"),
        ("traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"), ("Forwarded", 'for="[::1]";;=,'), ("X-Forwarded-For", "a, b, 1.2.3.4.5"),
        ("X-Request-Id", "z" * 128), ("X-Request-Id", "a b<c>"), ("X-Request-Id", ""), ("X-Request-Id", "x" * 5000), ("Origin", "http://localhost"),
        ("Sec-Fetch-Site", "same-origin"), ("Expect", "100-continue"), ("TE", "trailers"), ("X", "tab\tin value"), ("X", ""), ("Via", "1.1 x" * 50),
        ("Content-Language", "en"), ("Trailer", "X"), ("Date", "never"), ("Proxy-Connection", "keep-alive"), ("X-HTTP-Method-Override", "DELETE"),
    ])
    request.headers.append((name, value))


def expectation(request, generator):
    request.set("Expect", generator.choice(["200-ok", "100-continue, x", "nothing"]))
    request.allowed = request.allowed | {417}


def big_header(request, generator):
    choice = generator.randrange(3)
    if choice == 0:
        request.headers.append(("X", "x" * generator.randint(17_000, 70_000)))
    elif choice == 1:
        request.headers += [(f"X-{number}", "y") for number in range(generator.randint(101, 400))]
    else:
        request.headers.append(("X" * generator.randint(17_000, 40_000), "y"))
    request.allowed = {431}


def folded_field(request, generator):
    request.headers.append(("X", "a" + request.line_end + " b"))
    request.allowed = request.allowed | BAD


def content_type(request, generator):
    if not request.has_body or not request.body:
        return False
    value, allowed = generator.choice([
        ("application/json; charset=utf-8", None), ("APPLICATION/JSON", None), ("application/vnd.example+json", None), ("text/plain", {415}), ("", {415}),
        ("text/html", {415}), ("application/x-www-form-urlencoded", {415}), ("multipart/form-data; boundary=x", {415}), ("application/xml", {415}), ("json", {415}),
        (None, None), ("application/json, text/plain", {415}),
    ])
    old = dict(request.headers).get("Content-Type")
    request.remove("Content-Type")
    if value is not None:
        request.headers.append(("Content-Type", value))
    if allowed:
        request.allowed = allowed
    elif old != JSON:
        # Lines that are read as JSON.
        request.allowed = {200, 400}
    elif value is None:
        request.allowed = request.allowed | {415}


def encoding(request, generator):
    if not request.body:
        return False
    value = generator.choice(["gzip", "br", "identity", "deflate, gzip", "x"])
    request.set("Content-Encoding", value)
    request.allowed = request.allowed if value == "identity" else {415}


def idempotency(request, generator):
    value = generator.choice(["valid", "valid", '"quoted"', "", "k" * 300, "a b", "\u20ac", "k\tk"])
    if value == "valid":
        value = generator.randbytes(8).hex()
        request.set("Idempotency-Key", value)
        return
    request.set("Idempotency-Key", value)
    request.allowed = request.allowed | {400, 409, 422}


def bad_length(request, generator):
    if not request.body:
        return False
    length = len(request.body)
    choice = generator.randrange(7)
    if choice == 0:
        # The body is then the start of another request.
        headers, allowed = [], {400, 411, 415}
        if request.path.endswith("query"):
            # An empty list of ids.
            allowed = allowed | OK
    elif choice == 1:
        headers, allowed = [("Content-Length", generator.choice(["-1", "x", "0x10", "1 1", "+5", "1e3", "", "9" * 40, "1.0", "\uff11"]))], {400, 413}
    elif choice == 2:
        headers, allowed = [("Content-Length", str(length)), ("Content-Length", str(length + 1))], BAD
    elif choice == 3:
        headers, allowed = [("Content-Length", str(length)), ("Content-Length", str(length))], request.allowed | BAD
    elif choice == 4:
        headers, allowed = [("Content-Length", f"{length}, {length}")], request.allowed | BAD
    elif choice == 5:
        # The rest never comes: the client closes its side.
        headers, allowed = [("Content-Length", str(length + generator.randint(1, 100)))], {200, 400}
    else:
        headers, allowed = [("Content-Length", str(10**generator.randint(7, 18)))], {200, 400, 413}
    request.framing = (headers, request.body)
    request.allowed = allowed


def good_chunks(request, generator):
    if not request.body:
        return False
    extension = generator.choice(["", ";a", ";a=b;c", ';a="b c"', " "])
    trailers = generator.choice(["", "X: y\r\n", "Content-Length: 5\r\n"])
    name = generator.choice(["Transfer-Encoding", "TRANSFER-ENCODING"])
    value = generator.choice(["chunked", "Chunked"])
    request.framing = ([(name, value)], chunked(request.body, generator, extension, trailers))
    if extension == " " or "Length" in trailers:
        request.allowed = request.allowed | BAD


def bad_chunks(request, generator):
    if not request.body:
        return False
    good = chunked(request.body, generator)
    te = ("Transfer-Encoding", "chunked")
    headers, body, allowed = generator.choice([
        ([("Transfer-Encoding", "gzip, chunked")], good, {400, 501}), ([("Transfer-Encoding", "gzip")], good, {400, 501}),
        ([("Transfer-Encoding", "identity")], good, {400, 501}), ([("Transfer-Encoding", "")], good, {400, 501}),
        ([("Transfer-Encoding", "chunked, chunked")], good, {400, 501}), ([te, te], good, {400, 501}), ([("Transfer-Encoding", "xchunked")], good, {400, 501}),
        ([te, ("Content-Length", str(len(request.body)))], good, BAD), ([("Content-Length", "3"), te], good, BAD),
        ([te], b"zz\r\n" + good, BAD), ([te], b"-1\r\n" + good, BAD), ([te], b"f" * 20 + b"\r\n" + good, BAD),
        ([te], chunked(request.body, generator, end=False), {200, 400}), ([te], good[: generator.randint(1, len(good) - 1)], {200, 400}),
        ([te], b"1" + b";x" * 40_000 + b"\r\n{" + good, {400, 431}), ([te], good.replace(b"\r\n", b"", 1), {200, 400}),
    ])
    request.framing = (headers, body)
    # The routes of many items have begun to respond: their last line says that the body was cut off.
    request.allowed = allowed | OK if te in headers and len(headers) == 1 and request.path.endswith(("batch", "query")) else allowed


def old_version_chunks(request, generator):
    if not request.body:
        return False
    request.version = "HTTP/1.0"
    request.framing = ([("Transfer-Encoding", "chunked")], chunked(request.body, generator))
    request.allowed = BAD


def cut_off(request, generator):
    request.cut = generator.randrange(1, len(request.bytes()))
    request.allowed = {None, 200, 400, 404, 408, 409}


def in_pieces(request, generator):
    request.pieces = generator.randint(2, 12)


def change_bytes(request, generator):
    if not request.body:
        return False
    body = bytearray(request.body)
    for _ in range(generator.randint(1, 4)):
        index = generator.randrange(len(body) + 1)
        choice = generator.randrange(4)
        if choice == 0 and index < len(body):
            body[index] = generator.randrange(256)
        elif choice == 1:
            del body[index : index + generator.randint(1, 10)]
        elif choice == 2:
            body[index:index] = generator.choice([b"\x00", b"\xff", b"\xef\xbb\xbf", b'"', b"}", b"]", b"{", b"[", b",", b"\\", b"\\ud800", b"\n", b"1e999", b"null"])
        elif body:
            start = generator.randrange(len(body))
            body[index:index] = body[start : start + generator.randint(1, 30)]
        if not body:
            break
    request.body = bytes(body)
    request.allowed = {200, 400, 404, 409, 413, 415}


def byte_order_mark(request, generator):
    if not request.body:
        return False
    request.body = b"\xef\xbb\xbf" + request.body


def white_space(request, generator):
    if not request.body:
        return False
    request.body = generator.choice([b" \r\n\t", b"\n\n", b" "]) + request.body + generator.choice([b" \r\n\t", b"\n\n", b""])


def whole_body(request, generator):
    if not request.has_body:
        return False
    request.body = generator.choice([
        b"", b" ", b"null", b"true", b"0", b'""', b"[]", b"{}", b"[[]]", b"[{}]", b"{}\n{}", b"\x00", b"\xff\xfe{\x00}\x00", b"[" * 100_000, b'{"a":' * 50_000,
        b'{"ids":[]}', b'{"ids":null}', b'{"ids":[1]}', b'{"ids":["x"]}', b'{"app":1}', b'{"all":false}', b'{"request_id":""}', b'{"limit":99999999999999999999}',
        b'{"device_token":""}', b'{"device_tokens":[]}', b'"' + b"a" * 300_000 + b'"', generator.randbytes(200), b"<xml/>", b"a=b&c=d", b"\n" * 1000,
    ])
    # A body without a declared type is refused by control routes.
    request.allowed = {200, 400, 404, 409, 413, 415}


def fields_of_push(request, generator):
    """Changes one field of a push as JSON."""
    if not request.path.split("?")[0].endswith("/push") or dict(request.headers).get("Content-Type") != JSON:
        return False
    push = json.loads(request.body)
    name, value = generator.choice([
        ("nosuch", 1), ("Priority", 10), ("priority", 3), ("priority", "10"), ("priority", 10.5), ("push_type", "nosuch"), ("push_type", 1), ("app", "nosuch"), ("app", None),
        ("topic", ""), ("topic", "a b"), ("ttl", -1), ("ttl", 10**30), ("expiration", -5), ("expiration", "soon"), ("collapse_id", "x" * 65), ("collapse_id", "\u20ac" * 10),
        ("not_before", -1), ("not_before", "now"), ("lane", "fast"), ("on_unanswered", 0), ("payload", "x"), ("payload", []), ("payload", {}), ("payload", {"aps": 1}),
        ("payload", {"aps": {"alert": "x" * 5000}}), ("environment", "moon"), ("timestamp", "x"), ("id", "x"), ("token", "ab"), ("message", {"a": 1}), ("device_id", "ab"),
        ("device_token", "zz"), ("device_token", "a" * 511), ("device_token", "ab" * 256), ("device_token", 5),
    ])
    if name == "message" or name in ("device_token", "device_id"):
        push.pop("device_tokens", None)
    push[name] = value
    request.body = json.dumps(push).encode()
    request.allowed = {400, 413}
    if (name, value) in [("payload", {}), ("payload", {"aps": 1}), ("payload", "x"), ("timestamp", "x")]:
        request.allowed = request.allowed | OK


MUTATIONS = [
    other_method, other_version, other_path, other_path, line_spaces, bad_host, good_host, foreign, broken_field, harmless_field, harmless_field, expectation,
    big_header, folded_field, content_type, encoding, idempotency, bad_length, good_chunks, bad_chunks, old_version_chunks, cut_off, in_pieces, change_bytes,
    change_bytes, byte_order_mark, white_space, whole_body, fields_of_push,
]


# MARK: Responses


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


def parse(data, is_head):
    """The responses in the bytes of one connection."""
    responses = []
    while data:
        head, found, data = data.partition(b"\r\n\r\n")
        if not found:
            raise Unreadable("no end of the header")
        lines = head.decode("latin-1").split("\r\n")
        line = re.fullmatch(r"HTTP/1\.1 (\d{3}) [\x20-\x7e]*", lines[0])
        if not line:
            raise Unreadable("no status line")
        headers = collections.defaultdict(list)
        for field in lines[1:]:
            match = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)", field)
            if not match:
                raise Unreadable("a malformed field")
            headers[match[1].lower()].append(match[2])
        status = int(line[1])
        if status == 100:
            continue
        if headers["transfer-encoding"] == ["chunked"] and not is_head:
            body = b""
            while True:
                size, found, data = data.partition(b"\r\n")
                if not found or not re.fullmatch(rb"[0-9a-fA-F]+", size):
                    raise Unreadable("a malformed chunk")
                size = int(size, 16)
                if size == 0:
                    if data[:2] != b"\r\n":
                        raise Unreadable("no end of the chunks")
                    data = data[2:]
                    break
                if data[size : size + 2] != b"\r\n":
                    raise Unreadable("a cut chunk")
                body, data = body + data[:size], data[size + 2 :]
        else:
            if len(headers["content-length"]) != 1:
                raise Unreadable("no length")
            length = 0 if is_head else int(headers["content-length"][0])
            if len(data) < length:
                raise Unreadable("a cut body")
            body, data = data[:length], data[length:]
        responses.append(Response(status, headers, body))
    return responses


def exchange(port, request, generator):
    """Sends a request, closes the output, and reads to the end."""
    data = request.bytes()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            size = max(1, len(data) // request.pieces)
            for start in range(0, len(data), size):
                client.sendall(data[start : start + size])
            client.shutdown(socket.SHUT_WR)
        except OSError:
            # The gateway has refused it and closed already.
            pass
        received = b""
        while True:
            try:
                part = client.recv(65_536)
            except ConnectionResetError:
                break
            if not part:
                break
            received += part
    return parse(received, request.method == "HEAD")


def problems_of(request, responses):
    """What is wrong with the responses to a request."""
    if not responses:
        return [] if None in request.allowed else ["there is no response"]
    found = []
    first = responses[0]
    if first.status not in request.allowed:
        found.append(f"status {first.status} instead of {sorted(status for status in request.allowed if status)}")
    for response in responses:
        status = response.status
        if status >= 500 and status not in (501, 505):
            found.append(f"status {status}")
        identifier = response.headers["x-request-id"]
        if len(identifier) != 1:
            found.append("no X-Request-Id")
        if status < 400:
            continue
        if response.headers["content-type"] != ["application/problem+json"]:
            found.append(f"status {status} without a problem document")
        elif request.method != "HEAD":
            try:
                problem = json.loads(response.body)
            except ValueError:
                found.append("the problem is not JSON")
                continue
            if problem.get("status") != status:
                found.append("the problem has another status")
            if [problem.get("request_id")] != identifier:
                found.append("the problem has another request_id")
            if not problem.get("title") or not problem.get("detail") or "type" not in problem:
                found.append("the problem has no title, detail or type")
            if re.search(rb"[0-9a-f]{48}", response.body):
                found.append("the problem has a token")
        if status == 405 and not response.headers["allow"]:
            found.append("405 without Allow")
    return found


def accepted_in(request, responses):
    """The number of pushes that the responses acknowledge."""
    path = request.path.split("?")[0]
    if "validate" in path or "messages" in path:
        return 0
    return sum(response.body.count(b'"status":"accepted"') for response in responses if response.status == 200)


# MARK: The run


class Run:
    def __init__(self, port, seed):
        self.port, self.generator = port, random.Random(seed)
        self.faults, self.accepted, self.statuses = [], 0, collections.Counter()

    def send(self, name, request):
        try:
            responses = exchange(self.port, request, self.generator)
            found = problems_of(request, responses)
            self.accepted += accepted_in(request, responses)
            self.statuses.update(response.status for response in responses)
        except (Unreadable, OSError, ValueError) as error:
            found = [f"{type(error).__name__}: {error}"]
        for text in found:
            self.faults.append(f"{name}, {request.mutation}: {text}\n    {request.bytes()[:300]!r}")

    def all_methods(self, routes):
        known = collections.defaultdict(set)
        for name in routes.all():
            method, path = name.split(" ")
            known[path].add(method)
        for path, methods in known.items():
            for method in METHODS:
                if method in methods or (method == "HEAD" and "GET" in methods):
                    continue
                request = Request(method, path.replace("{msg_id}", routes.id).replace("{app}", "demo"), allowed={405})
                request.mutation = f"method {method}"
                if method == "CONNECT":
                    request.allowed = {400, 405}
                # A literal path hides the route with a variable, which has other methods.
                self.send(path, request)

    def mutated(self, routes, count):
        names = list(routes.all())
        for number in range(count):
            name = names[number % len(names)]
            while True:
                request = routes.all()[name]
                mutation = self.generator.choice(MUTATIONS)
                if mutation(request, self.generator) is not False:
                    break
            request.mutation = mutation.__name__
            self.send(name, request)


def checks(folder):
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 6000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    godwit = support.executable()
    simulator = support.Simulator(godwit, f"{folder}/simulator")
    port = support.free_port()
    text = support.configuration(port, simulator.port).replace("/var/lib/godwit", f"{folder}/store")
    app = text[text.index("  - bundle_id") :]
    write(f"{folder}/simulator/godwit.yaml", text + app.replace(APP, "com.example.other"))
    with open(f"{folder}/log", "w") as log:
        gateway = subprocess.Popen([godwit, "serve", "--config", f"{folder}/simulator/godwit.yaml"], stdout=log, stderr=log)
    try:
        client = support.Gateway(port)
        wait_for("ready gateway", client.is_ready)
        before = simulator.taken()
        id = client.push(app=APP)
        run = Run(port, seed)
        run.accepted = 1
        routes = Routes(run.generator, id)
        listed = re.findall(r"(?m)^([A-Z]+ /\S*)", client.get("/"))
        check(sorted(listed) == sorted(routes.all()), f"there is a valid request of each of the {len(listed)} routes")
        for name, request in routes.all().items():
            run.send(name, request)
        check(not run.faults, "the valid requests are served" + "".join("\n" + fault for fault in run.faults))
        run.all_methods(routes)
        run.mutated(routes, count)
        for fault in run.faults[:40]:
            print(fault, file=sys.stderr)
        print(f"    statuses: {dict(sorted(run.statuses.items()))}; {run.accepted} pushes accepted")
        check(gateway.poll() is None, "the gateway is alive")
        client.ask("/api/v1/apps/com.example.other/resume", b"", JSON)
        client.ask(f"/api/v1/apps/{APP}/resume", b"", JSON)
        wait_for("arrival of the accepted pushes", lambda: simulator.taken() - before >= run.accepted)
        check(simulator.taken() - before == run.accepted, f"{run.accepted} pushes were accepted, and as many arrived")
        with open(f"{folder}/log") as log:
            lines = [json.loads(line) for line in log if line.startswith("{")]
        errors = [line for line in lines if line.get("level") in ("error", "critical")]
        check(not errors, f"the gateway has logged no error: {errors[:2]}")
        check(not run.faults, f"all methods on all routes and {count:,} mutated requests: {len(run.faults)} faults, seed {seed}")
    finally:
        gateway.terminate()
        gateway.wait(60)
        simulator.stop()
    print("Mutated requests get the right refusals, and no refused push arrives.")


if __name__ == "__main__":
    support.main(checks)
