"""The cases, by name. Each module registers its own when it is imported."""

all_cases = {}


class Case:
    def __init__(self, name, play, alpn="h2", is_raw=False, connections=1, receive_buffer=0):
        self.name = name
        # Called with a Peer, or with the bare socket when `is_raw`.
        self.play = play
        # "h2", or "none" when the server chooses no protocol.
        self.alpn = alpn
        self.is_raw = is_raw
        # How many of the first connections are treated so.
        self.connections = connections
        # Bytes that the kernel keeps for us; 0: its own choice.
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
