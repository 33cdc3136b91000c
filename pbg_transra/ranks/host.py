"""Rank 0 before its training begins: it listens, and the others can find it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from artifacts.errors import ConfigError
from pbg_transra.ranks.meeting import announced
from pbg_transra.ranks.place import Place
from pbg_transra.ranks.server import Identity
from pbg_transra.ranks.wire import listen


@dataclass(frozen=True)
class Host:
    """What the server needs: see `served`."""

    place: Place
    listening: socket.socket
    key: bytes
    identity: Identity


@contextmanager
def hosted(place: Place, run: str, identity: Identity) -> Iterator[Host]:
    """Listens within the block. Raises ConfigError for an address that cannot be had."""
    try:
        listening = listen(place.host, place.port)
    except OSError as error:
        at = f"{place.host}:{place.port}" if place.port else place.host
        raise ConfigError(f"model.machines: rank 0 cannot listen on {at}: {error.strerror or error}") from error
    with listening:
        host, port = listening.getsockname()[:2]
        with announced(place.meeting, host, port, run) as meeting:
            yield Host(place, listening, meeting.key.encode(), identity)
