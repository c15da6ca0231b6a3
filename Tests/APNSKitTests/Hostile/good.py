"""A correct APNs server, with the h2 library. It accepts every push."""

import socket

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError


def serve(sock, number, report):
    """Serves until the client closes the connection."""
    connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    sock.sendall(connection.data_to_send())
    requests = {}
    while True:
        try:
            data = sock.recv(65536)
        except (OSError, ValueError):
            return
        if not data:
            return
        try:
            events = connection.receive_data(data)
        except ProtocolError as error:
            report.failed(f"the client violated the protocol: {error}")
            return
        for event in events:
            answer(connection, event, requests, number, report)
        try:
            sock.sendall(connection.data_to_send())
        except OSError:
            return


def answer(connection, event, requests, number, report):
    if isinstance(event, RequestReceived):
        request = report.begin(number, event.stream_id)
        request.fields = dict(event.headers)
        requests[event.stream_id] = request
    elif isinstance(event, DataReceived):
        requests[event.stream_id].body_bytes += len(event.data)
        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, StreamEnded):
        request = requests.pop(event.stream_id)
        request.is_complete = True
        request.result = "accepted"
        connection.send_headers(
            event.stream_id, [(":status", "200"), ("apns-id", request.id)], end_stream=True
        )
    elif isinstance(event, StreamReset):
        requests.pop(event.stream_id, None)
        report.count_frame(f"RST_STREAM:{int(event.error_code)}")
