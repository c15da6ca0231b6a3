"""The cases by name. Each module registers its cases when it is imported."""

all_cases = {}


class Case:
    def __init__(self, name, play, alpn="h2", is_raw=False, connections=1, receive_buffer=0):
        self.name = name
        # Called with a Peer, or with the bare socket when `is_raw`.
        self.play = play
        # "h2", or "none" if the server selects no protocol.
        self.alpn = alpn
        self.is_raw = is_raw
        # The number of connections, from the first, on which the case is played.
        self.connections = connections
        # The size of the socket's receive buffer in bytes; 0 keeps the default.
        self.receive_buffer = receive_buffer


def case(name, **options):
    def register(play):
        assert name not in all_cases, name
        all_cases[name] = Case(name, play, **options)
        return play

    return register


import cases_endings  # noqa: E402,F401
import cases_floods  # noqa: E402,F401
import cases_messages  # noqa: E402,F401
import cases_transport  # noqa: E402,F401
import cases_windows  # noqa: E402,F401
