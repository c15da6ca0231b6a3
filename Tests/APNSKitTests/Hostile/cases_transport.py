"""Faults below HTTP/2: TLS, TCP, and servers of other protocols."""

import socket
import ssl
import time

from cases import case
from cases_floods import PUSHES
from peer import STREAMS_MAX, settings, window_update


@case("close-notify")
def close_notify(peer):
    peer.start()
    peer.read_requests(PUSHES)
    peer.sock.settimeout(5)
    peer.sock.unwrap()


@case("tcp-reset")
def tcp_reset(peer):
    peer.start()
    peer.read_requests(PUSHES)
    peer.reset_tcp()


@case("tcp-fin")
def tcp_fin(peer):
    peer.start()
    peer.read_requests(PUSHES)


@case("half-closed")
def half_closed(peer):
    """Closes its write side and continues to read."""
    peer.start()
    peer.read_requests(PUSHES)
    socket.socket.shutdown(peer.sock, socket.SHUT_WR)
    try:
        peer.read(lambda: False, timeout=60)
    except TimeoutError:
        peer.report.failed("the client did not close the connection")


@case("stops-reading", receive_buffer=4096)
def stops_reading(peer):
    """The HTTP/2 windows are open, the TCP window is closed."""
    peer.start([(STREAMS_MAX, 1000), (4, 1 << 30)])
    peer.send(window_update(0, 1 << 30))
    wait_for_end(peer)


def wait_for_end(peer):
    """Sleeps until the client has closed, without reading."""
    for _ in range(600):
        time.sleep(0.1)
        # Polls only the socket state; the client's data stays in the receive buffer.
        state = peer.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state != 1:
            return
    peer.report.failed("the client did not close the connection")


@case("a-byte-at-a-time")
def a_byte_at_a_time(peer):
    peer.start()
    requests = peer.read_requests(PUSHES)
    answer = peer.headers(requests[0].stream, [(":status", "200"), ("x-long", "y" * 200)], end=True)
    # Endless: starts again if it ends before the client closes.
    while True:
        for byte in answer:
            peer.send(bytes([byte]))
            time.sleep(0.1)


@case("settings-a-byte-at-a-time")
def settings_a_byte_at_a_time(peer):
    peer.expect_preface()
    for byte in settings([(STREAMS_MAX, 100)]):
        peer.send(bytes([byte]))
        time.sleep(0.02)
    peer.serve()


@case("alpn-missing-and-http1-answer", alpn="none")
def alpn_missing_and_http1_answer(peer):
    peer.expect_preface()
    peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


@case("alpn-missing-and-silent", alpn="none")
def alpn_missing_and_silent(peer):
    peer.linger()


@case("alpn-missing-and-http2", alpn="none")
def alpn_missing_and_http2(peer):
    """RFC 9113, section 3.3, requires ALPN; the client accepts HTTP/2 without it."""
    peer.start()
    peer.serve()


@case("tls-then-nothing")
def tls_then_nothing(peer):
    peer.linger()


@case("tls-then-close")
def tls_then_close(peer):
    peer.expect_preface()


@case("garbage-instead-of-tls", is_raw=True)
def garbage_instead_of_tls(sock):
    sock.recv(65536)
    sock.sendall(b"220 mail.example.com ESMTP\r\n" * 100)


@case("http1-instead-of-tls", is_raw=True)
def http1_instead_of_tls(sock):
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


@case("tls-alert", is_raw=True)
def tls_alert(sock):
    sock.recv(65536)
    # handshake_failure, fatal (RFC 8446, section 6).
    sock.sendall(b"\x15\x03\x03\x00\x02\x02\x28")


@case("tcp-then-nothing", is_raw=True)
def tcp_then_nothing(sock):
    sock.settimeout(60)
    while sock.recv(65536):
        pass


@case("tcp-then-close", is_raw=True)
def tcp_then_close(sock):
    sock.recv(65536)
