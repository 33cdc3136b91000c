"""Rank 0 answers the others, each in a thread of its own."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from artifacts.differences import differences
from artifacts.errors import PeerError
from artifacts.graph import Bucket
from artifacts.printable import one_line
from pbg_transra.ranks.coordinator import AGAIN, BucketReport, Coordinator
from pbg_transra.ranks.wire import NO_FLOATS, Floats, Message, Wire

LAST_WORDS = 5.0  # seconds in which the others hear how it ended

Identity = dict[str, Any]  # what all ranks must have in common: code, config, graph


@contextmanager
def served(listening: socket.socket, key: bytes, identity: Identity, coordinator: Coordinator) -> Iterator[None]:
    """Other ranks are answered within the block, and told how it ended."""
    serving = threading.Thread(target=_accept, args=(listening, key, identity, coordinator), daemon=True)
    serving.start()
    try:
        yield
        coordinator.finish()
    except BaseException as error:
        coordinator.fail(f"rank 0 ({socket.gethostname()}) ended: {told(error)}{AGAIN}")
        raise
    finally:
        coordinator.wait_until_alone(LAST_WORDS)
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # wakes the thread
        listening.close()


def told(error: BaseException) -> str:
    """The first line of what ended a rank."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return one_line(str(error).partition("\n")[0]) or type(error).__name__


def _accept(listening: socket.socket, key: bytes, identity: Identity, coordinator: Coordinator) -> None:
    while True:
        try:
            connected, _ = listening.accept()
        except OSError:  # closed
            return
        arguments = (connected, key, identity, coordinator)
        threading.Thread(target=_meet, args=arguments, daemon=True).start()


def _meet(connected: socket.socket, key: bytes, identity: Identity, coordinator: Coordinator) -> None:
    """One connection, from the handshake to its end. Who does not know the key is sent away."""
    with suppress(OSError, EOFError):
        wire = Wire.accept(connected, key)
        try:
            hello, _ = wire.receive()
            rank, name = int(hello["rank"]), one_line(str(hello["name"]))
            if refusal := _refusal(coordinator, identity, hello["identity"], rank, name):
                wire.send({"refused": refusal})
                return
            wire.send({})
            _Rank(wire, rank, coordinator).serve()
        finally:
            wire.close()


def _refusal(coordinator: Coordinator, own: Identity, other: Identity, rank: int, name: str) -> list[str]:
    """Why a rank may not take part; nothing where it does. What it differs in ends the training: nobody would come."""
    if changes := differences(own, other):
        lines = [f"rank {rank} ({name}) is not like rank 0: {change}" for change in changes]
        coordinator.fail(lines[0])
        return lines
    try:
        coordinator.join(rank, name)
    except PeerError as error:
        return list(error.lines)
    return []


class _Rank:
    """A rank that has joined."""

    def __init__(self, wire: Wire, rank: int, coordinator: Coordinator) -> None:
        self._wire, self._rank, self._coordinator = wire, rank, coordinator

    def serve(self) -> None:
        try:
            while True:
                message, floats = self._wire.receive()
                if message["call"] == "bye":
                    return
                self._answer(message, floats)
        except (OSError, EOFError):
            self._coordinator.lost(self._rank, "is gone")
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
