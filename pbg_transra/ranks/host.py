"""Rank 0: it listens before its training begins, and the others can find it once it answers."""

import ipaddress
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from artifacts.errors import ConfigError
from pbg_transra.ranks.coordinator import Coordinator
from pbg_transra.ranks.meeting import Meeting, announced
from pbg_transra.ranks.place import Place, is_address
from pbg_transra.ranks.server import Identity, served
from pbg_transra.ranks.wire import listen

HERE = "localhost"
WAY_OUT = "expected this machine's address in the network in model.machines.address or MASTER_ADDR"


@dataclass(frozen=True)
class Host:
    """Rank 0 of a run, which listens."""

    place: Place
    run: str
    identity: Identity
    listening: socket.socket

    @contextmanager
    def serving(self, coordinator: Coordinator) -> Iterator[None]:
        """Other ranks find this one within the block, are answered, and told how it ended."""
        host, port = self.listening.getsockname()[:2]
        meeting = Meeting(host, port, secrets.token_hex(32), self.run)
        with (
            served(self.listening, meeting.key.encode(), self.identity, coordinator),
            announced(self.place.meeting, meeting),
        ):
            yield


@contextmanager
def hosted(place: Place, run: str, identity: Identity) -> Iterator[Host]:
    """Listens within the block. Raises ConfigError for an address that cannot be had, or that others cannot reach."""
    at = f"{place.host}:{place.port}" if place.port else place.host
    try:
        listening = listen(place.host, place.port)
    except (OSError, UnicodeError) as error:  # names are encoded by IDNA, which refuses some
        why = error.strerror or error if isinstance(error, OSError) else "no name of a host"
        raise ConfigError(f"model.machines: rank 0 cannot listen on {at}: {why}; {WAY_OUT}") from error
    with listening:
        _require_reachable(place.host, listening.getsockname()[0])
        yield Host(place, run, identity, listening)


def _require_reachable(name: str, address: str) -> None:
    """Raises ConfigError for a name of every address, and for one that means this machine to itself alone, as Debian's
    /etc/hosts has its own (127.0.1.1): every other one would look for rank 0 on itself. Whoever writes 127.0.0.1 or
    localhost means that."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if found.is_unspecified:
        raise ConfigError(f"model.machines: '{name}' is every address of the machine ({address}); {WAY_OUT}")
    if found.is_loopback and name != HERE and not is_address(name):
        raise ConfigError(
            f"model.machines: '{name}' is {address} on this machine, where no other can reach rank 0; {WAY_OUT} "
            f"(localhost, where all ranks are on this machine)"
        )
