"""A well-behaved APNs, by the h2 library: it accepts every push."""

import socket

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError


def serve(sock, number, books):
    """Until the client closes the connection."""
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
            books.failed(f"the client broke the protocol: {error}")
            return
        for event in events:
            answer(connection, event, requests, number, books)
        try:
            sock.sendall(connection.data_to_send())
        except OSError:
            return


def answer(connection, event, requests, number, books):
    if isinstance(event, RequestReceived):
        request = books.begin(number, event.stream_id)
        request.fields = dict(event.headers)
        requests[event.stream_id] = request
    elif isinstance(event, DataReceived):
        requests[event.stream_id].body_bytes += len(event.data)
        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, StreamEnded):
        request = requests.pop(event.stream_id)
        request.is_whole = True
        request.fate = "accepted"
        connection.send_headers(
            event.stream_id, [(":status", "200"), ("apns-id", request.id)], end_stream=True
        )
    elif isinstance(event, StreamReset):
        requests.pop(event.stream_id, None)
        books.count_frame(f"RST_STREAM:{int(event.error_code)}")
