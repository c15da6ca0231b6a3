"""The report of the hostile server: the requests that it received, and its responses."""

import json
import threading
from collections import Counter


class Request:
    """One request of the client, on one stream of one connection."""

    def __init__(self, connection, stream):
        self.connection = connection
        self.stream = stream
        self.fields = {}
        self.body_bytes = 0
        # Whether the complete request arrived.
        self.is_complete = False
        # "accepted": answered with 200. "rejected": answered with another status. "refused": the server reported that it
        # does not process the request. "unknown": none of these; the server may have processed it.
        self.result = "unknown"

    @property
    def id(self):
        return self.fields.get("apns-id", "")

    def summary(self):
        return {
            "id": self.id, "connection": self.connection, "stream": self.stream,
            "isComplete": self.is_complete, "result": self.result,
        }


class Report:
    """Shared by the threads of all connections."""

    def __init__(self):
        self.lock = threading.Lock()
        self.connections = 0
        self.requests = []
        self.frames = Counter()
        self.errors = []

    def next_connection(self):
        with self.lock:
            self.connections += 1
            return self.connections - 1

    def begin(self, connection, stream):
        request = Request(connection, stream)
        with self.lock:
            self.requests.append(request)
        return request

    def count_frame(self, name):
        with self.lock:
            self.frames[name] += 1

    def failed(self, text):
        """Records a bug of the server; the test fails with it."""
        with self.lock:
            self.errors.append(text)

    def line(self):
        with self.lock:
            return json.dumps({
                "connections": self.connections,
                "requests": [request.summary() for request in self.requests],
                "frames": dict(self.frames),
                "errors": self.errors,
            })
