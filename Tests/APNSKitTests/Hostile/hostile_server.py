"""A server that violates HTTP/2, for the tests of an APNs client.

    hostile_server.py CASE CERTIFICATE KEY
    hostile_server.py --list

Listens on a free port at 127.0.0.1 and prints it: {"port": 1234}. Plays CASE on the first connection, and answers_requests later ones
like APNs. On SIGTERM it prints its report, one line of JSON, and exits.
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
from report import Report
from peer import Disconnected, Peer


def secured(raw, context):
    raw.settimeout(10)
    return context.wrap_socket(raw, server_side=True)


def handle(raw, number, case, contexts, report):
    """Handles one connection."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock = raw
    try:
        if number >= case.connections:
            sock = secured(raw, contexts["h2"])
            sock.settimeout(60)
            good.serve(sock, number, report)
        elif case.is_raw:
            sock.settimeout(10)
            case.play(sock)
        else:
            sock = secured(raw, contexts[case.alpn])
            sock.setblocking(False)
            case.play(Peer(sock, number, report))
    except (Disconnected, TimeoutError, OSError):
        # The client closed the connection, which most cases expect.
        pass
    except Exception:
        report.failed(traceback.format_exc())
    finally:
        sock.close()


def context(certificate, key, protocols):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    if protocols:
        tls.set_alpn_protocols(protocols)
    return tls


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
    report = Report()
    listener = socket.socket()
    if case.receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, case.receive_buffer)
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)

    def end(*_):
        print(report.line(), flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    while True:
        raw, _ = listener.accept()
        number = report.next_connection()
        threading.Thread(
            target=handle, args=(raw, number, case, contexts, report), daemon=True
        ).start()


main()
