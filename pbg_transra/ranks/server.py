"""Rank 0 answers the others, each in a thread of its own."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from artifacts.differences import differences
from artifacts.errors import PeerError
from artifacts.formats.graph import Bucket
from artifacts.printable import one_line
from pbg_transra.ranks.coordinator import AGAIN, BucketReport, Coordinator
from pbg_transra.ranks.wire import NO_FLOATS, Floats, Message, Wire

LAST_WORDS = 5.0  # seconds in which the others hear how it ended
MOST_STRANGERS = 64
BREATH = 0.1  # seconds, after a connection that could not be had

Identity = dict[str, Any]  # what all ranks must have in common: code, config, graph


@contextmanager
def served(listening: socket.socket, key: bytes, identity: Identity, coordinator: Coordinator) -> Iterator[None]:
    """Other ranks are answered within the block, and told how it ended."""
    server = _Server(listening, key, identity, coordinator)
    threading.Thread(target=server.accept, daemon=True).start()
    try:
        yield
        coordinator.finish()
    except BaseException as error:
        coordinator.fail(f"rank 0 ({socket.gethostname()}) ended: {told(error)}{AGAIN}")
        raise
    finally:
        coordinator.wait_until_alone(LAST_WORDS)
        server.close()


def told(error: BaseException) -> str:
    """The first line of what ended a rank."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return one_line(str(error).partition("\n")[0]) or type(error).__name__


@dataclass(frozen=True)
class _Server:
    """`strangers`: who has connected and not yet shown that they know the key, as many as may."""

    listening: socket.socket
    key: bytes
    identity: Identity
    coordinator: Coordinator
    strangers: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(MOST_STRANGERS))
    closed: threading.Event = field(default_factory=threading.Event)

    def accept(self) -> None:
        """Until it is closed, whatever connects: a port scanner may be gone again, or have taken all file handles."""
        while True:
            try:
                connected, _ = self.listening.accept()
            except OSError:
                if self.closed.wait(BREATH):
                    return
                continue
            if self.strangers.acquire(blocking=False):
                threading.Thread(target=self._meet, args=(connected,), daemon=True).start()
            else:
                connected.close()  # a rank tries again

    def close(self) -> None:
        self.closed.set()
        with suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self.listening.close()

    def _meet(self, connected: socket.socket) -> None:
        """One connection, from the handshake to its end. Who does not know the key is sent away."""
        with suppress(OSError, EOFError):
            try:
                wire = Wire.accept(connected, self.key)
            finally:
                self.strangers.release()
            with closing(wire):
                rank, refusal = self._introduced(wire)
                wire.send({"refused": refusal} if refusal else {})
                if not refusal:
                    _Rank(wire, rank, self.coordinator).serve()

    def _introduced(self, wire: Wire) -> tuple[int, list[str]]:
        """Which rank it is, and why it may not take part; nothing where it does."""
        try:
            hello, _ = wire.receive()
            rank, name, identity = int(hello["rank"]), one_line(str(hello["name"])), dict(hello["identity"])
        except (ValueError, TypeError, KeyError):
            return 0, ["rank 0 does not understand this one; expected the same version on all ranks"]
        try:
            self.coordinator.require_vacant(rank)
            if changes := differences(self.identity, identity):
                lines = [f"rank {rank} ({name}) is not like rank 0: {change}" for change in changes]
                self.coordinator.fail(lines[0])  # nobody else would come
                return rank, lines
            self.coordinator.join(rank, name)
        except PeerError as error:
            return rank, list(error.lines)
        return rank, []


class _Rank:
    """A rank that has joined."""

    def __init__(self, wire: Wire, rank: int, coordinator: Coordinator) -> None:
        self._wire, self._rank, self._coordinator = wire, rank, coordinator

    def serve(self) -> None:
        """Until it says goodbye. However else it ends, the rank is lost, and all are told: they wait for it."""
        try:
            while True:
                message, floats = self._wire.receive()
                if message["call"] == "bye":
                    return
                self._answer(message, floats)
        except (OSError, EOFError):
            self._coordinator.lost(self._rank, "is gone")
        except Exception as error:  # whatever it is, all others would wait for this rank
            how = f"could not be answered: {type(error).__name__}: {told(error)}"
            self._coordinator.lost(self._rank, how)
            with suppress(OSError):
                self._wire.send({"failed": [f"rank {self._rank} {how}"]})
        finally:
            self._coordinator.leave(self._rank)

    def _answer(self, message: Message, floats: Floats) -> None:
        try:
            answer, values = ANSWERS[message["call"]](self._coordinator, self._rank, message, floats)
        except PeerError as error:
            self._wire.send({"failed": list(error.lines)})
        else:
            self._wire.send({"answer": answer}, values)


def _next_pass(to: Coordinator, rank: int, message: Message, floats: Floats) -> tuple[Any, Floats]:
    return to.next_pass(rank, message["done"]), NO_FLOATS


def _acquire(to: Coordinator, rank: int, message: Message, floats: Floats) -> tuple[Any, Floats]:
    previous = message["previous"]
    turn = to.acquire(rank, Bucket(*previous) if previous else None)
    return {"bucket": turn.bucket, "over": turn.over, "stamps": turn.stamps}, NO_FLOATS


def _release(to: Coordinator, rank: int, message: Message, floats: Floats) -> tuple[Any, Floats]:
    report = message["report"]
    to.release(rank, BucketReport(**{**report, "bucket": Bucket(*report["bucket"])}), message["stamps"])
    return None, NO_FLOATS


def _exchange(to: Coordinator, rank: int, message: Message, floats: Floats) -> tuple[Any, Floats]:
    return None, to.exchange(rank, floats)


def _end(to: Coordinator, rank: int, message: Message, floats: Floats) -> tuple[Any, Floats]:
    to.end(rank)
    return None, NO_FLOATS


def _alive(to: Coordinator, rank: int, message: Message, floats: Floats) -> tuple[Any, Floats]:
    return to.alive(rank, message["edges"], message["loss"]), NO_FLOATS


def _fail(to: Coordinator, rank: int, message: Message, floats: Floats) -> tuple[Any, Floats]:
    to.lost(rank, f"ended: {one_line(message['why'])}")
    return None, NO_FLOATS


ANSWERS: dict[str, Callable[[Coordinator, int, Message, Floats], tuple[Any, Floats]]] = {
    "next_pass": _next_pass,
    "acquire": _acquire,
    "release": _release,
    "exchange": _exchange,
    "end": _end,
    "alive": _alive,
    "fail": _fail,
}
