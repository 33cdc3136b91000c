"""Messages between ranks: JSON and an array of float32, over TCP. Nothing is unpickled.

Whoever connects must know the key of the meeting (see meeting.py). A machine that is gone is noticed by the kernels:
a killed process closes its connection, and what answers no probe for half a minute counts as gone; a process that is
slow, or was stopped, still has a kernel that answers.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

import numpy as np
from numpy.typing import NDArray

Message = dict[str, Any]
Floats = NDArray[np.float32]

HANDSHAKE_SECONDS = 20
IDLE, INTERVAL, PROBES = 10, 5, 4  # seconds, seconds, and how many: 30 seconds without an answer
MOST_JSON, MOST_FLOATS = 1 << 26, 1 << 34  # bytes
NO_FLOATS = np.empty(0, np.float32)


def listen(host: str, port: int) -> socket.socket:
    """Listens on one address. Raises OSError where that is in use or not of this machine."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family)


class Wire:
    """A connection to another rank. One thread at a time."""

    def __init__(self, connected: socket.socket) -> None:
        _probe(connected)
        self._connection = Connection(connected.detach())

    @classmethod
    def connect(cls, host: str, port: int, key: bytes) -> "Wire":
        """Raises OSError where nobody listens, or somebody else than rank 0."""
        wire = cls(socket.create_connection((host, port), timeout=HANDSHAKE_SECONDS))
        return wire._authenticated(key, first=False)

    @classmethod
    def accept(cls, connected: socket.socket, key: bytes) -> "Wire":
        """Raises OSError for who does not know the key, or does not say so in time."""
        return cls(connected)._authenticated(key, first=True)

    def _authenticated(self, key: bytes, first: bool) -> "Wire":
        steps = (deliver_challenge, answer_challenge)
        try:
            with _ended_after(HANDSHAKE_SECONDS, self._connection.fileno()):
                for step in steps if first else reversed(steps):
                    step(self._connection, key)
        except (AuthenticationError, EOFError, AssertionError, ValueError) as error:
            self.close()
            raise OSError(f"no rank of this training ({error})") from error
        except OSError:
            self.close()
            raise
        return self

    def send(self, message: Message, floats: Floats = NO_FLOATS) -> None:
        """Raises OSError when the other end is gone."""
        self._connection.send_bytes(json.dumps({**message, "floats": len(floats)}).encode())
        if len(floats):
            self._connection.send_bytes(np.ascontiguousarray(floats, np.float32).data)

    def receive(self, seconds: float | None = None) -> tuple[Message, Floats]:
        """Raises EOFError or OSError when the other end is gone, TimeoutError when nothing comes for so long."""
        if not self._connection.poll(seconds):
            raise TimeoutError
        message = json.loads(self._connection.recv_bytes(MOST_JSON))
        if not message.pop("floats"):
            return message, NO_FLOATS
        return message, np.frombuffer(self._connection.recv_bytes(MOST_FLOATS), np.float32).copy()

    def close(self) -> None:
        self._connection.close()


def _probe(connected: socket.socket) -> None:
    """The kernel asks whether the other machine is there, also while data is on its way."""
    connected.settimeout(None)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, IDLE),
        (socket.TCP_KEEPINTVL, INTERVAL),
        (socket.TCP_KEEPCNT, PROBES),
        (socket.TCP_USER_TIMEOUT, 1000 * (IDLE + INTERVAL * PROBES)),
        (socket.TCP_NODELAY, 1),
    ):
        connected.setsockopt(socket.IPPROTO_TCP, option, value)


@contextmanager
def _ended_after(seconds: float, handle: int) -> Iterator[None]:
    """A connection that is no longer good when the block takes longer, however little comes and how often."""
    with socket.socket(fileno=socket.dup(handle)) as same:
        limit = threading.Timer(seconds, _end, (same,))
        limit.daemon = True
        limit.start()
        try:
            yield
        finally:
            limit.cancel()
            limit.join()


def _end(connected: socket.socket) -> None:
    with suppress(OSError):  # the other end was faster
        connected.shutdown(socket.SHUT_RDWR)
