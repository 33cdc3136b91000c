"""What the ranks of a training agree on. Lives in rank 0; the others call it over their connections (remote.py)."""

import math
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from artifacts.errors import PeerError
from artifacts.formats.graph import Bucket, Side
from pbg_transra.pbg.bucket_locks import BucketLocks
from pbg_transra.ranks.wire import NO_FLOATS, Floats

AGAIN = "; repeat the command on all ranks, and it resumes"
Stamps = dict[str, str]  # by partition, "<type>/<part>": what its newest file says of itself


@dataclass(frozen=True)
class Turn:
    """An answer to `acquire`: a bucket; none, and the pass goes on; or none, and nothing is left to hand out."""

    bucket: Bucket | None
    over: bool
    stamps: Stamps = field(default_factory=dict)


@dataclass(frozen=True)
class BucketReport:
    """What a rank trained: edges, their summed loss, seconds, and those of them that were waited."""

    bucket: Bucket
    edges: int
    loss: float
    seconds: float
    waited: float


class Agreement(Protocol):
    """What every rank may ask. Everything raises PeerError once a rank is gone."""

    def next_pass(self, rank: int, done: int) -> int | None:
        """The index of the pass to train, which may be one that is `done` already; None when the training is over."""
        ...

    def acquire(self, rank: int, previous: Bucket | None) -> Turn: ...

    def release(self, rank: int, report: BucketReport, stamps: Stamps) -> None:
        """Its partitions are in their files, with these stamps."""
        ...

    def exchange(self, rank: int, moved: Floats) -> Floats:
        """Adds what a rank has moved the shared values by, (V,), and returns them; nothing (0,) only returns them.
        Nobody writes into what is returned."""
        ...

    def end(self, rank: int) -> None:
        """A rank has nothing left to train, and has exchanged all."""
        ...

    def alive(self, rank: int, edges: float, loss: float) -> float:
        """Says that a rank is still there, and what it has trained in all; returns the edges that others have trained
        in this pass."""
        ...


class Coordinator:
    """An Agreement for any thread. `timeout`: seconds after which a rank that is not heard of counts as gone."""

    def __init__(self, count: int, timeout: float, apart: bool, sides: Collection[Side] = tuple(Side)) -> None:
        """`apart`, `sides`: see BucketLocks."""
        self._count, self._timeout, self._apart, self._sides = count, timeout, apart, sides
        self._lock = threading.Condition()
        self._joined: dict[int, str] = {}
        self._heard: dict[int, float] = {}
        self._failure: str | None = None
        self._pass: int | None = -1
        self._locks = BucketLocks([], apart, sides)
        self._ended: set[int] = set()
        self._reports: list[BucketReport] = []
        self._edges = dict.fromkeys(range(count), 0)  # of the pass
        self._trained = dict.fromkeys(range(count), (0.0, 0.0))  # of the command
        self._told: list[BucketReport] = []
        self._values = NO_FLOATS
        self.stamps: Stamps = {}

    # What rank 0 alone asks.

    def wait_for_all(self) -> None:
        """Raises PeerError that names the ranks that have not come in time."""
        until = time.monotonic() + self._timeout
        with self._lock:
            while len(self._joined) < self._count - 1:
                left = until - time.monotonic()
                if left <= 0:
                    missing = sorted(set(range(1, self._count)) - self._joined.keys())
                    raise PeerError(f"{_ranks(missing)} did not come within {self._timeout:g} s{AGAIN}")
                self._lock.wait(min(left, 1.0))
                self._require_whole()

    def share(self, values: Floats) -> None:
        """What all exchange from now on, (V,)."""
        with self._lock:
            self._values = values

    def open_pass(self, index: int, order: Sequence[Bucket]) -> None:
        with self._lock:
            self._locks, self._ended = BucketLocks(order, self._apart, self._sides), set()
            self._reports, self._edges = [], dict.fromkeys(range(self._count), 0)
            self._pass = index

    def finished_pass(self) -> list[BucketReport] | None:
        """What was trained, once every rank has ended the pass; None before."""
        with self._lock:
            self._require_whole()
            self._heard[0] = time.monotonic()
            return list(self._reports) if self._locks.trained and len(self._ended) == self._count else None

    def news(self) -> list[BucketReport]:
        """What others have trained since it was asked last."""
        with self._lock:
            told, self._told = self._told, []
            return told

    def counted(self) -> tuple[float, float]:
        """Edges and summed loss of the others."""
        with self._lock:
            others = [trained for rank, trained in self._trained.items() if rank]
            return sum(edges for edges, _ in others), sum(loss for _, loss in others)

    def finish(self) -> None:
        """The training is over."""
        with self._lock:
            self._pass = None

    def wait_until_alone(self, seconds: float) -> None:
        """The others have heard the last word, or the time is up."""
        with self._lock:
            self._lock.wait_for(lambda: not self._joined, seconds)

    # Who is there.

    def require_vacant(self, rank: int) -> None:
        """Raises PeerError for a rank that is there already, or that there is none of."""
        with self._lock:
            self._require_whole()
            if not 0 < rank < self._count:
                raise PeerError(f"rank {rank}: expected one from 1 to {self._count - 1}")
            if rank in self._joined:
                raise PeerError(f"rank {rank} is there already ({self._joined[rank]})")

    def join(self, rank: int, name: str) -> None:
        """Raises what `require_vacant` does."""
        with self._lock:
            self.require_vacant(rank)
            self._joined[rank], self._heard[rank] = name, math.inf  # it gets ready, and may read all edges first
            self._lock.notify_all()

    def leave(self, rank: int) -> None:
        with self._lock:
            self._joined.pop(rank, None)
            self._lock.notify_all()

    def lost(self, rank: int, how: str) -> None:
        """A rank that has joined is no longer there."""
        with self._lock:
            self.fail(f"rank {rank} ({self._joined.get(rank)}) {how}{AGAIN}")

    def fail(self, why: str) -> None:
        """Every call raises PeerError from now on; the first reason stays."""
        with self._lock:
            self._failure = self._failure or why
            self._lock.notify_all()

    # What every rank asks: see Agreement.

    def next_pass(self, rank: int, done: int) -> int | None:
        with self._lock:
            self._require(rank)
            return self._pass

    def acquire(self, rank: int, previous: Bucket | None) -> Turn:
        with self._lock:
            self._require(rank)
            if self._locks.handed_out:
                return Turn(None, over=True)
            if self._locks.held(rank) and not all(map(self._locks.held, range(self._count))):
                return Turn(None, over=False)  # before anyone works ahead, each has something to do
            bucket = self._locks.acquire(rank, previous)
            return Turn(bucket, over=False, stamps=dict(self.stamps) if bucket else {})

    def release(self, rank: int, report: BucketReport, stamps: Stamps) -> None:
        with self._lock:
            self._require(rank)
            self.stamps.update(stamps)
            self._locks.release(report.bucket)
            self._reports.append(report)
            self._edges[rank] += report.edges
            if rank:
                self._told.append(report)

    def exchange(self, rank: int, moved: Floats) -> Floats:
        with self._lock:
            self._require(rank)
            if len(moved):
                self._values = self._values + moved  # the former array may be on its way to another rank
            return self._values

    def end(self, rank: int) -> None:
        with self._lock:
            self._require(rank)
            self._ended.add(rank)

    def alive(self, rank: int, edges: float, loss: float) -> float:
        with self._lock:
            self._require(rank)
            self._trained[rank] = edges, loss
            return float(sum(count for other, count in self._edges.items() if other != rank))

    def _require(self, rank: int) -> None:
        self._heard[rank] = time.monotonic()
        self._require_whole()

    def _require_whole(self) -> None:
        if self._failure is None:
            silent = time.monotonic() - self._timeout
            gone = sorted(rank for rank in self._joined if self._heard[rank] < silent)
            if gone:
                self._failure = f"{_ranks(gone)} has not been heard of for {self._timeout:g} s{AGAIN}"
        if self._failure is not None:
            raise PeerError(self._failure)


def _ranks(numbers: Sequence[int]) -> str:
    return f"rank{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
