"""A server that breaks HTTP/2, for the tests of an APNs client.

    hostile_server.py CASE CERTIFICATE KEY
    hostile_server.py --list

Listens on a port of its own at 127.0.0.1 and prints it: {"port": 1234}. The first connection is treated as CASE says, the
later ones as a good APNs would treat them. At SIGTERM it prints what it has seen, one line of JSON, and ends.
"""

import json
import os
import signal
import socket
import ssl
import sys
import threading
import traceback

import cases
import good
from books import Books
from peer import Gone, Peer


def secured(raw, context):
    raw.settimeout(10)
    return context.wrap_socket(raw, server_side=True)


def handle(raw, number, case, contexts, books):
    """One connection, from its first byte to its last."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock = raw
    try:
        if number >= case.connections:
            sock = secured(raw, contexts["h2"])
            sock.settimeout(60)
            good.serve(sock, number, books)
        elif case.is_raw:
            sock.settimeout(10)
            case.play(sock)
        else:
            sock = secured(raw, contexts[case.alpn])
            sock.setblocking(False)
            case.play(Peer(sock, number, books))
    except (Gone, TimeoutError, OSError):
        # The client has had enough, which is what most cases are about.
        pass
    except Exception:
        books.failed(traceback.format_exc())
    finally:
        sock.close()


def context(certificate, key, protocols):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    if protocols:
        made.set_alpn_protocols(protocols)
    return made


def main():
    if sys.argv[1:] == ["--list"]:
        print(json.dumps(sorted(cases.all_cases)))
        return
    name, certificate, key = sys.argv[1:]
    case = cases.all_cases[name]
    contexts = {
        "h2": context(certificate, key, ["h2"]),
        "none": context(certificate, key, []),
    }
    books = Books()
    listener = socket.socket()
    if case.receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, case.receive_buffer)
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)

    def end(*_):
        print(books.line(), flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    while True:
        raw, _ = listener.accept()
        number = books.next_connection()
        threading.Thread(
            target=handle, args=(raw, number, case, contexts, books), daemon=True
        ).start()


main()
