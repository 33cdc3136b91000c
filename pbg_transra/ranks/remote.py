"""The agreement as the other ranks see it: each call goes to rank 0 and waits for its answer."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from artifacts.errors import ConfigError, PeerError
from artifacts.formats.graph import Bucket
from pbg_transra.ranks.coordinator import AGAIN, BucketReport, Stamps, Turn
from pbg_transra.ranks.meeting import found
from pbg_transra.ranks.place import Place
from pbg_transra.ranks.server import Identity, told
from pbg_transra.ranks.wire import NO_FLOATS, Floats, Wire

LOOK_SECONDS = 0.2


class RemoteAgreement:
    """An Agreement for any thread. Raises PeerError when rank 0 is gone, too."""

    def __init__(self, wire: Wire, timeout: float) -> None:
        self._wire, self._timeout, self._lock = wire, timeout, threading.Lock()

    def next_pass(self, rank: int, done: int) -> int | None:
        index: int | None = self._call("next_pass", done=done)[0]
        return index

    def acquire(self, rank: int, previous: Bucket | None) -> Turn:
        answer, _ = self._call("acquire", previous=previous)
        bucket = answer["bucket"]
        return Turn(Bucket(*bucket) if bucket else None, answer["over"], answer["stamps"])

    def release(self, rank: int, report: BucketReport, stamps: Stamps) -> None:
        self._call("release", report=asdict(report), stamps=stamps)

    def exchange(self, rank: int, moved: Floats) -> Floats:
        return self._call("exchange", moved)[1]

    def end(self, rank: int) -> None:
        self._call("end")

    def alive(self, rank: int, edges: float, loss: float) -> float:
        return float(self._call("alive", edges=edges, loss=loss)[0])

    def leave(self, error: BaseException | None) -> None:
        """Says how it ended; nobody may be there any more to hear it."""
        with suppress(OSError, EOFError, PeerError):
            if error is not None:
                self._call("fail", why=told(error))
            self._wire.send({"call": "bye"})
        self._wire.close()

    def _call(self, name: str, floats: Floats = NO_FLOATS, **fields: Any) -> tuple[Any, Floats]:
        with self._lock:
            try:
                self._wire.send({"call": name, **fields}, floats)
                message, values = self._wire.receive(self._timeout)
            except (OSError, EOFError) as error:
                silent = isinstance(error, TimeoutError) and error.errno is None  # the kernel's says that it is gone
                how = f"has not answered for {self._timeout:g} s" if silent else "is gone"
                raise PeerError(f"rank 0 {how}{AGAIN}") from None
        if "failed" in message:
            raise PeerError(*message["failed"])
        return message["answer"], values


@dataclass(frozen=True)
class FirstRank:
    """Rank 0, to another one that is connected with it."""

    place: Place
    run: str
    wire: Wire

    @contextmanager
    def joined(self, identity: Identity) -> Iterator[RemoteAgreement]:
        """Takes part within the block. Raises ConfigError, a line each, for what is not as rank 0 has it or a place
        that is taken, and PeerError when rank 0 is gone."""
        try:
            self.wire.send({"rank": self.place.rank, "name": socket.gethostname(), "identity": identity})
            answer, _ = self.wire.receive(self.place.timeout)
        except (OSError, EOFError):
            raise PeerError(f"rank 0 is gone{AGAIN}") from None
        if refused := answer.get("refused"):
            raise ConfigError(*refused)
        agreement = RemoteAgreement(self.wire, self.place.timeout)
        try:
            yield agreement
        except BaseException as error:
            agreement.leave(error)
            raise
        agreement.leave(None)


@contextmanager
def met(place: Place) -> Iterator[FirstRank]:
    """Waits for rank 0. Raises PeerError when it does not come in time, DataError for a damaged file."""
    until, last = time.monotonic() + place.timeout, "it has not been there"
    while time.monotonic() < until:
        try:
            meeting = found(place.meeting)
            if meeting is not None:
                wire = Wire.connect(meeting.host, meeting.port, meeting.key.encode())
                break
        except OSError as error:  # of an earlier attempt, or not yet there on this machine
            last = str(error)
        time.sleep(LOOK_SECONDS)
    else:
        raise PeerError(
            f"{place.meeting}: rank 0 was not to be met within {place.timeout:g} s ({last}); start it, on a file "
            f"system that all ranks see"
        )
    try:
        yield FirstRank(place, meeting.run, wire)
    finally:
        wire.close()
