"""What the hostile server has seen, and what it has done about it."""

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
        # Whether it has arrived up to its end.
        self.is_whole = False
        # "accepted": answered with 200. "rejected": answered otherwise. "refused": the server said that it will not be
        # processed. "unknown": nothing of these, the server may have processed it.
        self.fate = "unknown"

    @property
    def id(self):
        return self.fields.get("apns-id", "")

    def summary(self):
        return {
            "id": self.id, "connection": self.connection, "stream": self.stream,
            "isWhole": self.is_whole, "fate": self.fate,
        }


class Books:
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
        """A mistake of the server's own: the test shows it."""
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
