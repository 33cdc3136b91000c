"""What the ranks of a training are made of: locks, agreement, messages, files; without processes."""

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import ConfigError, DataError, PeerError
from artifacts.formats.graph import Bucket, Graph, Side, load_graph
from pbg_transra.backends.backend import Capacity, RelationState
from pbg_transra.config import MachinesConfig, ModelConfig
from pbg_transra.pbg.bucket_locks import BucketLocks
from pbg_transra.ranks.coordinator import Agreement, BucketReport, Coordinator, Turn
from pbg_transra.ranks.host import Host, hosted
from pbg_transra.ranks.identity import identity
from pbg_transra.ranks.place import Place, place_of
from pbg_transra.ranks.remote import RemoteAgreement, met
from pbg_transra.ranks.server import MOST_STRANGERS
from pbg_transra.ranks.shared_values import SharedValues, flat, unflat
from pbg_transra.ranks.wire import NO_FLOATS, Floats, Message, Wire, listen
from pbg_transra.start.initial import random_initial
from pbg_transra.training.checkpoint_files import Position
from pbg_transra.training.replicas import Replicas
from pbg_transra.training.residency import Key, Residency, needed, replicated, slots_by_type
from pbg_transra.training.shared_files import Agreed, SharedFiles
from pbg_transra.training.shared_schedule import SharedSchedule, locked_sides, require_shareable
from tests.worlds.copying_backend import CopyingBackend
from tests.worlds.small_graphs import Triples, block_graph, write_graph

LOOPBACK = "127.0.0.1"
GRID = [Bucket(lhs, rhs) for lhs in range(4) for rhs in range(4)]
CONFIG = ModelConfig(operator="transr", dimension=4)
GRAPH = {"fingerprint": "f", "files": "g"}


def locked(bucket: Bucket, apart: bool) -> set[object]:
    return {("lhs", bucket.lhs), ("rhs", bucket.rhs)} if apart else {bucket.lhs, bucket.rhs}


@given(st.data(), st.booleans(), st.integers(1, 4))
def test_no_two_ranks_hold_a_partition_and_each_bucket_comes_once(data: st.DataObject, apart: bool, ranks: int) -> None:
    """Whatever the order in which ranks ask and give back; each may hold two."""
    locks, given_out = BucketLocks(data.draw(st.permutations(GRID)), apart), []
    held: dict[int, list[Bucket]] = {rank: [] for rank in range(ranks)}
    while not locks.trained:
        rank = data.draw(st.integers(0, ranks - 1))
        if held[rank] and (len(held[rank]) == 2 or locks.handed_out or data.draw(st.booleans())):
            locks.release(held[rank].pop(0))
            continue
        bucket = locks.acquire(rank, held[rank][-1] if held[rank] else None)
        if bucket is None:
            for one, buckets in held.items():  # nobody waits for ever: what is held is given back some day
                while buckets:
                    locks.release(held[one].pop(0))
            continue
        for other, buckets in held.items():
            if other != rank:
                assert not any(locked(bucket, apart) & locked(one, apart) for one in buckets)
        held[rank].append(bucket)
        given_out.append(bucket)
    assert sorted(given_out) == GRID


def test_partitions_of_different_types_do_not_lock_each_other() -> None:
    """PBG's own numbers would make heads' partition 1 and tails' partition 1 one."""
    apart, together = BucketLocks(GRID, apart=True), BucketLocks(GRID, apart=False)
    assert [apart.acquire(rank, None) for rank in range(4)] == [Bucket(rank, rank) for rank in range(4)]
    taken = [together.acquire(rank, None) for rank in range(3)]
    taken[1:] = [Bucket(1, 1), Bucket(2, 2)]
    assert together.acquire(3, None) == Bucket(3, 3)


def report(bucket: Bucket) -> BucketReport:
    return BucketReport(bucket, 10, 20.0, 1.0, 0.0)


def test_each_has_something_to_do_before_anyone_works_ahead() -> None:
    coordinator = Coordinator(2, 60, apart=True)
    coordinator.join(1, "host")
    coordinator.open_pass(0, [Bucket(lhs, rhs) for lhs in range(2) for rhs in range(2)])
    first = coordinator.acquire(0, None).bucket
    assert first == Bucket(0, 0)
    ahead = coordinator.acquire(0, first)
    assert (ahead.bucket, ahead.over) == (None, False)
    assert coordinator.acquire(1, None).bucket == Bucket(1, 1)
    coordinator.release(0, report(first), {"a": "1"})
    second = coordinator.acquire(0, first)
    assert second.bucket is None, "both of the others need a partition that rank 1 holds"
    coordinator.release(1, report(Bucket(1, 1)), {"b": "2"})
    third = coordinator.acquire(0, first)
    assert third.bucket == Bucket(0, 1) and third.stamps == {"a": "1", "b": "2"}


def test_a_slow_rank_keeps_nobody_from_the_rest() -> None:
    """It holds a bucket; the other trains all that needs none of its partitions, and then what is left."""
    coordinator = Coordinator(2, 60, apart=True)
    coordinator.join(1, "slow")
    coordinator.open_pass(0, GRID)
    held = coordinator.acquire(1, None).bucket
    assert held is not None
    trained = []
    while (turn := coordinator.acquire(0, None)).bucket is not None:
        trained.append(turn.bucket)
        coordinator.release(0, report(turn.bucket), {})
    assert sorted(trained) == [one for one in GRID if one.lhs != held.lhs and one.rhs != held.rhs]
    assert not turn.over
    coordinator.release(1, report(held), {})
    while (turn := coordinator.acquire(0, None)).bucket is not None:
        coordinator.release(0, report(turn.bucket), {})
    assert turn.over
    coordinator.end(0)
    assert coordinator.finished_pass() is None, "the slow one may have moved what is shared"
    coordinator.end(1)
    reports = coordinator.finished_pass()
    assert reports is not None and sorted(one.bucket for one in reports) == GRID


def test_who_is_missing_is_named() -> None:
    coordinator = Coordinator(4, 0.05, apart=True)
    coordinator.join(2, "there")
    with pytest.raises(PeerError, match=r"ranks 1, 3 did not come within 0.05 s; repeat the command on all ranks"):
        coordinator.wait_for_all()


def test_a_rank_comes_once_and_only_one_that_there_is() -> None:
    coordinator = Coordinator(2, 60, apart=True)
    coordinator.join(1, "here")
    with pytest.raises(PeerError, match=r"rank 1 is there already \(here\)"):
        coordinator.join(1, "there")
    for rank in (0, 2):
        with pytest.raises(PeerError, match="expected one from 1 to 1"):
            coordinator.join(rank, "there")


def test_who_is_not_heard_of_is_named_to_all() -> None:
    coordinator = Coordinator(3, 0.05, apart=True)
    for rank in (1, 2):
        coordinator.join(rank, "host")
        coordinator.next_pass(rank, -1)
    threading.Event().wait(0.1)
    with pytest.raises(PeerError, match=r"rank 2 has not been heard of for 0.05 s"):
        coordinator.alive(1, 0, 0)
    with pytest.raises(PeerError, match="rank 2 has not been heard of"):
        coordinator.next_pass(2, -1)


class Values:
    """A copy of one relation's parameters."""

    def __init__(self, value: float) -> None:
        self.state = RelationState({(0, "p"): torch.full((2, 3), value)}, {(0, "p"): torch.zeros(2, 3)})

    def read(self) -> Floats:
        return flat(self.state)

    def write(self, values: Floats) -> None:
        self.state = unflat(values.copy(), self.state)


def test_what_ranks_move_comes_together() -> None:
    coordinator = Coordinator(2, 60, apart=True)
    coordinator.join(1, "host")
    one, other = Values(1.0), Values(5.0)
    coordinator.share(one.read())
    shared = [SharedValues(rank, coordinator, copy) for rank, copy in enumerate((one, other))]
    for values in shared:
        values.take()
    assert torch.equal(other.state.parameters[0, "p"], torch.ones(2, 3)), "rank 0's are what all begin with"
    one.state.parameters[0, "p"] += 2
    other.state.parameters[0, "p"] -= 1
    assert other.state.sums is not None
    other.state.sums[0, "p"] += 4
    for values in (*shared, shared[0]):
        values.exchange()
    for state in (one.state, other.state):
        assert state.sums is not None
        assert torch.equal(state.sums[0, "p"], torch.full((2, 3), 4.0))
    assert torch.equal(one.state.parameters[0, "p"], other.state.parameters[0, "p"])
    assert not torch.equal(one.state.parameters[0, "p"], torch.ones(2, 3))


def test_flat_values_are_the_same_state_again() -> None:
    parameters = {(0, "a"): torch.rand(3), (1, "b"): torch.rand(2, 2)}
    state = RelationState(parameters, {key: torch.rand_like(values) for key, values in parameters.items()})
    again = unflat(flat(state), state)
    assert again.sums is not None and state.sums is not None
    for key in parameters:
        assert torch.equal(again.parameters[key], parameters[key])
        assert torch.equal(again.sums[key], state.sums[key])


@contextmanager
def meeting(root: Path, timeout: float = 20.0) -> Iterator[tuple[Host, Place]]:
    """Rank 0 listens; the place of rank 1."""
    place = Place(1, 2, LOOPBACK, 0, timeout, root / "meeting.json")
    with hosted(Place(0, *(2, LOOPBACK, 0, timeout, root / "meeting.json")), "run", identity(CONFIG, GRAPH)) as host:
        yield host, place


def test_values_and_answers_pass_the_wire(tmp_path: Path) -> None:
    coordinator = Coordinator(2, 20, apart=True)
    coordinator.share(np.arange(6, dtype=np.float32))
    coordinator.open_pass(3, GRID)
    with (
        meeting(tmp_path) as (host, place),
        host.serving(coordinator),
        met(place) as first,
        first.joined(identity(CONFIG, GRAPH)) as agreement,
    ):
        assert first.run == "run"
        assert agreement.next_pass(1, -1) == 3
        assert list(agreement.exchange(1, np.zeros(0, np.float32))) == [0, 1, 2, 3, 4, 5]
        turn = agreement.acquire(1, None)
        assert turn.bucket == Bucket(0, 0)
        agreement.release(1, report(turn.bucket), {"x": "stamp"})
        assert coordinator.stamps == {"x": "stamp"}
        assert coordinator.news() == [report(Bucket(0, 0))]
        assert coordinator.alive(0, 1, 1) == 10
        coordinator.finish()
        assert agreement.next_pass(1, 3) is None
    assert not place.meeting.exists()


@pytest.mark.parametrize(
    ("own", "graph", "line"),
    [
        ({"epochs": 7}, GRAPH, r"rank 1 \(.*\) is not like rank 0: model.epochs changed from 10 to 7"),
        ({}, {**GRAPH, "files": "other"}, r"is not like rank 0: graph.files changed from \"g\" to \"other\""),
    ],
)
def test_who_is_not_like_rank_0_is_refused(
    tmp_path: Path, own: dict[str, int], graph: dict[str, str], line: str
) -> None:
    coordinator, other = Coordinator(2, 20, apart=True), CONFIG.model_copy(update=own)
    with meeting(tmp_path) as (host, place), pytest.raises(PeerError, match=line), host.serving(coordinator):
        with met(place) as first, pytest.raises(ConfigError, match=line), first.joined(identity(other, graph)):
            pass
        coordinator.wait_for_all()


def test_other_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator = Coordinator(2, 20, apart=True)
    with meeting(tmp_path) as (host, place), host.serving(coordinator):
        monkeypatch.setattr("pbg_transra.ranks.identity.code_digest", lambda: "of another version")
        refused = pytest.raises(ConfigError, match="code changed from")
        with met(place) as first, refused, first.joined(identity(CONFIG, GRAPH)):
            pass


def test_a_stranger_is_sent_away_and_disturbs_nobody(tmp_path: Path) -> None:
    coordinator = Coordinator(2, 20, apart=True)
    with meeting(tmp_path) as (host, place), host.serving(coordinator):
        port = host.listening.getsockname()[1]
        with pytest.raises(OSError, match="no rank of this training"):
            Wire.connect(LOOPBACK, port, b"a guess")
        for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\x80\x04" * 99, b""):
            with closing(socket.create_connection((LOOPBACK, port))) as stranger:
                stranger.sendall(noise)
        with met(place) as first, first.joined(identity(CONFIG, GRAPH)) as agreement:
            assert agreement.next_pass(1, 0) == -1
            coordinator.finish()


class Disturbed:
    """A listening socket: who connects first is gone again, and then no file handles are left."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening, self._errors = listening, [errno.ECONNABORTED, errno.EMFILE]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listening, name)

    def accept(self) -> Any:
        if self._errors:
            raise OSError(self._errors.pop(0), "not to be had")
        return self._listening.accept()


def test_a_connection_that_cannot_be_had_keeps_nobody_out(tmp_path: Path) -> None:
    with meeting(tmp_path) as (host, place):
        disturbed = replace(host, listening=cast("socket.socket", Disturbed(host.listening)))
        with (
            disturbed.serving(Coordinator(2, 20, apart=True)),
            met(place) as first,
            first.joined(identity(CONFIG, GRAPH)) as agreement,
        ):
            assert agreement.next_pass(1, 0) == -1


def test_who_connects_and_says_little_is_sent_away_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many do, one of them byte by byte; a rank finds a place among them."""
    monkeypatch.setattr("pbg_transra.ranks.wire.HANDSHAKE_SECONDS", 0.5)
    with (
        meeting(tmp_path) as (host, place),
        host.serving(Coordinator(2, 20, apart=True)),
        ExitStack() as silent,
    ):
        port = host.listening.getsockname()[1]
        slow, *_ = [
            silent.enter_context(socket.create_connection((LOOPBACK, port))) for _ in range(MOST_STRANGERS + 10)
        ]
        with met(place) as first, first.joined(identity(CONFIG, GRAPH)) as agreement:
            assert agreement.next_pass(1, 0) == -1
        slow = silent.enter_context(socket.create_connection((LOOPBACK, port)))
        began = time.monotonic()
        with suppress(OSError):
            for byte in struct.pack("!i", 256) + bytes(256):
                slow.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - began < 5, "of 13 seconds"


@contextmanager
def joined(root: Path) -> Iterator[tuple[Coordinator, Wire, Place]]:
    """Rank 1 has joined, over a wire on which it may say anything."""
    coordinator = Coordinator(2, 20, apart=True)
    coordinator.share(np.arange(6, dtype=np.float32))
    with meeting(root) as (host, place), host.serving(coordinator), met(place) as first:
        first.wire.send({"rank": 1, "name": "host", "identity": identity(CONFIG, GRAPH)})
        assert first.wire.receive(20) == ({}, NO_FLOATS)
        yield coordinator, first.wire, place


@pytest.mark.parametrize(
    ("call", "floats", "line"),
    [
        ({"call": "what"}, NO_FLOATS, "KeyError: 'what'"),
        ({}, NO_FLOATS, "KeyError: 'call'"),
        ({"call": "exchange"}, np.ones(5, np.float32), "ValueError: operands could not be broadcast"),
        ({"call": "release", "report": 7}, NO_FLOATS, "TypeError: 'int' object is not"),
    ],
)
def test_a_rank_that_cannot_be_answered_is_lost_by_name(
    tmp_path: Path, call: Message, floats: Floats, line: str
) -> None:
    """Else all would wait for what it holds."""
    with joined(tmp_path) as (coordinator, wire, _):
        wire.send(call, floats)
        answer, _ = wire.receive(20)
        assert line in answer["failed"][0]
        with pytest.raises(PeerError, match=rf"rank 1 \(host\) could not be answered: {line}.*; repeat the command"):
            coordinator.alive(0, 0, 0)


class Unanswered:
    """A wire on which nothing comes."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def send(self, message: Message, floats: Floats) -> None:
        """It leaves, and gets nowhere."""

    def receive(self, seconds: float) -> tuple[Message, Floats]:
        raise self._error


@pytest.mark.parametrize(
    ("error", "how"),
    [
        (TimeoutError(), "has not answered for 7 s"),
        (OSError(errno.ETIMEDOUT, "timed out"), "is gone"),
        (OSError(errno.EHOSTUNREACH, "unreachable"), "is gone"),
    ],
)
def test_slow_is_not_gone(error: OSError, how: str) -> None:
    """The kernel's own timeout is of the same class as ours."""
    with pytest.raises(PeerError, match=f"^rank 0 {how}; repeat"):
        RemoteAgreement(cast("Wire", Unanswered(error)), 7).alive(1, 0, 0)


def test_who_comes_too_late_with_another_config_ends_nothing(tmp_path: Path) -> None:
    with joined(tmp_path) as (coordinator, _, place):
        other = identity(CONFIG.model_copy(update={"epochs": 7}), GRAPH)
        there = pytest.raises(ConfigError, match=r"rank 1 is there already \(host\)")
        with met(place) as late, there, late.joined(other):
            pass
        coordinator.alive(0, 0, 0)


def test_a_first_message_of_another_version_is_refused(tmp_path: Path) -> None:
    coordinator = Coordinator(2, 20, apart=True)
    with meeting(tmp_path) as (host, place), host.serving(coordinator), met(place) as first:
        first.wire.send({"number": 1})
        answer, _ = first.wire.receive(20)
        assert answer == {"refused": ["rank 0 does not understand this one; expected the same version on all ranks"]}
        coordinator.alive(0, 0, 0)


def test_rank_0_is_to_be_found_once_it_answers(tmp_path: Path) -> None:
    """Until then a handshake would only run into its limit."""
    with meeting(tmp_path) as (host, place):
        assert not place.meeting.exists()
        with host.serving(Coordinator(2, 20, apart=True)):
            assert place.meeting.exists()
        assert not place.meeting.exists()


def test_only_the_owner_reads_the_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with meeting(tmp_path) as (host, place), host.serving(Coordinator(2, 20, apart=True)):
            assert place.meeting.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_how_a_rank_ended_is_told_to_the_others(tmp_path: Path) -> None:
    coordinator = Coordinator(2, 20, apart=True)
    with meeting(tmp_path) as (host, place), host.serving(coordinator):
        with pytest.raises(DataError), met(place) as first, first.joined(identity(CONFIG, GRAPH)):
            raise DataError("the model diverged")
        with pytest.raises(PeerError, match=r"rank 1 \(.*\) ended: the model diverged; repeat the command"):
            coordinator.alive(0, 0, 0)


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with closing(listen(LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        place = Place(0, 2, LOOPBACK, port, 1, tmp_path / "meeting.json")
        in_use = rf"model.machines: rank 0 cannot listen on 127.0.0.1:{port}: Address"
        with pytest.raises(ConfigError, match=in_use), hosted(place, "run", {}):
            pass
    elsewhere = Place(0, 2, "192.0.2.1", 0, 1, tmp_path / "meeting.json")
    with pytest.raises(ConfigError, match="cannot listen on 192.0.2.1"), hosted(elsewhere, "run", {}):
        pass


@pytest.mark.parametrize(
    ("name", "found", "line"),
    [
        ("node0", "127.0.1.1", r"'node0' is 127.0.1.1 on this machine, where no other can reach rank 0; expected"),
        ("0", "0.0.0.0", r"'0' is every address of the machine \(0.0.0.0\); expected this machine's address"),
        ("node0", None, r"cannot listen on node0: Name or service not known; expected this machine's address"),
        ("a..b", None, r"cannot listen on a..b: no name of a host; expected"),
        ("x" * 64, None, r"cannot listen on x+: no name of a host; expected"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, found: str | None, line: str
) -> None:
    def looked_up(host: str, port: int, **more: Any) -> Any:
        host.encode("idna")
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port))]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    place = Place(0, 2, name, 0, 1, tmp_path / "meeting.json")
    with pytest.raises(ConfigError, match=line) as refused, hosted(place, "run", {}):
        pass
    assert len(refused.value.lines) == 1 and "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["localhost", LOOPBACK, "127.0.0.2"])
def test_who_writes_loopback_means_it(tmp_path: Path, name: str) -> None:
    with hosted(Place(0, 2, name, 0, 1, tmp_path / "meeting.json"), "run", {}) as host:
        assert host.listening.getsockname()[0].startswith("127.0.0.")


class Late:
    """Answers about buckets arrive when `go_on` is set, or after a while."""

    def __init__(self, agreement: Agreement) -> None:
        self._agreement, self.asked, self.go_on = agreement, threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agreement, name)

    def acquire(self, rank: int, previous: Bucket | None) -> Turn:
        turn = self._agreement.acquire(rank, previous)
        self.asked.set()
        self.go_on.wait(0.3)
        return turn


class Interrupted(Residency):
    """The thread that works ahead comes between, whenever something is to be given up."""

    between: Callable[[], object]

    def keep_only(self, kept: Iterable[Key]) -> None:
        self.between()
        super().keep_only(kept)


class Ahead:
    """A rank that has trained two buckets and released one. All have user partition 0, which is therefore in a file."""

    def __init__(self, root: Path) -> None:
        self.graph, coordinator = block_graph(root, partitions=4), Coordinator(2, 60, apart=True)
        slots = slots_by_type(self.graph, overlap=True)
        backend, shared = CopyingBackend(self.graph, CONFIG, 1), SharedFiles(root, {}, Agreed(0), patience=0.2)
        backend.open(Capacity(slots, 1, 1))
        self.agreement = Late(coordinator)
        self.holder = Interrupted(self.graph, slots, backend, shared, random_initial(self.graph, CONFIG), CONFIG.lr)
        self.holder.between = bool
        replicas = Replicas(self.graph, CONFIG.dimension, self.holder, backend)
        self.schedule = SharedSchedule(1, cast("Agreement", self.agreement), self.graph, shared, replicas)
        coordinator.join(1, "host")
        coordinator.share(replicas.read())
        self.schedule.begin(0, 0)
        coordinator.open_pass(0, [Bucket(1, 1), *(Bucket(0, tail) for tail in (0, 2, 3))])
        assert coordinator.acquire(0, None).bucket == Bucket(1, 1)
        self.agreement.go_on.set()
        self.schedule.release(report(self.bring()))
        self.trained = self.bring()
        for event in (self.agreement.asked, self.agreement.go_on):
            event.clear()

    def bring(self) -> Bucket:
        bucket = self.schedule.acquire()
        assert bucket is not None
        self.holder.bring(needed(self.graph, bucket))
        self.holder.mark(needed(self.graph, bucket))
        return bucket


@pytest.fixture
def ahead(tmp_path: Path) -> Ahead:
    return Ahead(tmp_path)


def test_what_a_commit_has_looked_at_is_given_up_before_the_next_pass(ahead: Ahead) -> None:
    """`model.max_drift` looks at all partitions: another rank may train one, whose file would not be read again."""
    ahead.holder.keep_only(())
    ahead.holder.bring([("pin", 3)])
    ahead.schedule.begin(1, 0)
    with pytest.raises(KeyError):
        ahead.holder.resident(("pin", 3))


class Copy:
    """A rank's copy of a graph's only type that is not split, which is on both sides, and of relations."""

    def __init__(self, root: Path, graph: Graph, rank: int, coordinator: Coordinator) -> None:
        slots = slots_by_type(graph, overlap=True)
        self.backend, self.shared = CopyingBackend(graph, CONFIG, 1), SharedFiles(root, {}, Agreed(0), patience=0.2)
        self.backend.open(Capacity(slots, 1, 1))
        initial = replace(random_initial(graph, CONFIG), seed=rank)
        self.holder = Residency(graph, slots, self.backend, self.shared, initial, CONFIG.lr)
        self.replicas = Replicas(graph, CONFIG.dimension, self.holder, self.backend)
        self.replicas.bring()
        self.schedule = SharedSchedule(rank, coordinator, graph, self.shared, self.replicas)

    def move(self, rows: list[int], by: float) -> None:
        """As training would: vectors, and Adagrad's sums by twice that."""
        table = self.holder.read(("advertiser", 0))
        table[rows, :-1] += by
        table[rows, -1] += 2 * abs(by)
        self.holder.write(("advertiser", 0), table)


def test_copies_of_a_type_of_one_partition_come_together(tmp_path: Path) -> None:
    """Moves of vectors and of Adagrad's sums are added up; only who commits writes a file."""
    graph = small_graph(tmp_path / "graph", {"node": [3, 3], "advertiser": [5]}, ("node", "advertiser"))
    assert replicated(graph) == [("advertiser", 0)]
    coordinator = Coordinator(2, 60, True, locked_sides(graph))
    coordinator.join(1, "host")
    one, other = (Copy(tmp_path, graph, rank, coordinator) for rank in range(2))
    coordinator.share(one.replicas.read())
    coordinator.open_pass(0, [Bucket(0, 0), Bucket(1, 0)])
    for copy in (one, other):
        copy.schedule.begin(0, 0)
    begun = one.holder.read(("advertiser", 0))
    assert torch.equal(begun, other.holder.read(("advertiser", 0))), "rank 0's are what all begin with"
    buckets = [copy.schedule.acquire() for copy in (one, other)]
    assert buckets == [Bucket(0, 0), Bucket(1, 0)], "a side without split types locks nobody out"
    one.move([0, 1], 1.0)
    other.move([1, 2], 3.0)
    for copy, bucket in zip((one, other), buckets, strict=True):
        assert bucket is not None
        copy.schedule.release(report(bucket))
    for copy in (one, other, one):
        copy.schedule.end(Position())
    moved = one.holder.read(("advertiser", 0)) - begun
    assert torch.allclose(moved[:, 0], torch.tensor([1.0, 4.0, 3.0, 0.0, 0.0]), atol=1e-6)
    assert torch.allclose(moved[:, -1], torch.tensor([2.0, 8.0, 6.0, 0.0, 0.0]), atol=1e-6)
    assert torch.equal(one.holder.read(("advertiser", 0)), other.holder.read(("advertiser", 0)))
    assert not list(tmp_path.glob("embeddings_*"))


def test_what_is_acquired_while_another_bucket_is_released_stays(ahead: Ahead) -> None:
    """Between what is to be kept and the rest that is given up."""
    with ThreadPoolExecutor(1) as thread:
        acquired: list[Future[Bucket]] = []
        ahead.agreement.go_on.set()

        def between() -> None:
            acquired.append(thread.submit(ahead.bring))
            wait(acquired, 0.3)

        ahead.holder.between = between
        ahead.schedule.release(report(ahead.trained))
        bucket = acquired[0].result()
    assert ahead.holder.on(bucket, Side.LHS) and ahead.holder.on(bucket, Side.RHS)


def test_a_stamp_that_is_old_by_the_time_it_comes_is_not_waited_for(ahead: Ahead) -> None:
    """The bucket that is released has saved a partition since, which the next one needs."""
    with ThreadPoolExecutor(1) as thread:
        acquired = thread.submit(ahead.bring)
        assert ahead.agreement.asked.wait(20)
        ahead.schedule.release(report(ahead.trained))
        ahead.agreement.go_on.set()
        bucket = acquired.result()
    assert ahead.holder.on(bucket, Side.LHS) and ahead.holder.on(bucket, Side.RHS)


def files(directory: Path, agreed: Agreed) -> SharedFiles:
    return SharedFiles(directory, {}, agreed, patience=0.2)


def test_an_older_file_than_was_saved_last_is_refused(tmp_path: Path) -> None:
    """As a file system would show it that keeps what it has seen."""
    vectors, sums = torch.ones(3, 4), torch.zeros(3)
    one, other = Agreed(0), Agreed(0)
    files(tmp_path, one).save("user", 0, vectors, sums, 0.1)
    path = tmp_path / "embeddings_user_0.v1.h5"
    before = path.read_bytes()
    other.stamps.update(one.tell())
    assert files(tmp_path, other).load("user", 0, torch.empty(3, 4), torch.empty(3))
    files(tmp_path, one).save("user", 0, vectors * 2, sums, 0.1)
    other.stamps.update(one.tell())
    newest = torch.empty(3, 4)
    assert files(tmp_path, other).load("user", 0, newest, torch.empty(3))
    assert torch.equal(newest, vectors * 2)
    for stale in (path.write_bytes(before), path.unlink()):
        assert stale is not NotImplemented
        with pytest.raises(DataError, match="embeddings_user_0 is not as another rank has saved it"):
            files(tmp_path, other).load("user", 0, newest, torch.empty(3))


def test_a_committed_file_that_is_not_to_be_seen_is_no_new_entity(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not as another rank has saved it"):
        files(tmp_path, Agreed(passes=2)).load("user", 0, torch.empty(3, 4), torch.empty(3))
    assert not files(tmp_path, Agreed(passes=0)).load("user", 0, torch.empty(3, 4), torch.empty(3))


def test_graphs_that_cannot_be_shared_are_refused(tmp_path: Path) -> None:
    block_graph(tmp_path, partitions=2)
    require_shareable(load_graph(tmp_path), 4, 2)
    with pytest.raises(DataError, match="graph.partitions: 2 cannot keep 3 ranks at work, expected at least 3"):
        require_shareable(load_graph(tmp_path), 4, 3)
    both = small_graph(tmp_path / "both", {"node": [3, 3]}, ("node", "node"))
    with pytest.raises(DataError, match="cannot keep 2 ranks at work, expected at least 4"):
        require_shareable(both, 4, 2)


def small_graph(directory: Path, counts: dict[str, list[int]], sides: tuple[str, str]) -> Graph:
    directory.mkdir()
    rows = np.arange(3)
    return write_graph(directory, counts, {"like": sides}, [Triples("like", "train", rows, rows)])


@pytest.mark.parametrize(("sides", "least"), [(("node", "advertiser"), 3), (("node", "node"), 6)])
def test_a_graph_of_one_bucket_is_refused_by_name(tmp_path: Path, sides: tuple[str, str], least: int) -> None:
    graph = small_graph(tmp_path / "one", {name: [3] for name in sides}, sides)
    named = ", ".join(dict.fromkeys(sides))
    line = f"^graph.entities: {named}: one partition each, so .* nothing for 3 ranks .* at least {least} without"
    with pytest.raises(DataError, match=line):
        require_shareable(graph, 4, 3)


def test_types_of_one_partition_are_shared_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a type may be on both sides, and needs no lock; a split one on one side alone is not on both."""
    graph = small_graph(tmp_path / "mixed", {"node": [3, 3], "advertiser": [5]}, ("node", "advertiser"))
    monkeypatch.setattr("pbg_transra.training.replicas.MOST_BYTES", 100)
    require_shareable(graph, 4, 2)
    line = (
        r"graph.entities.advertiser.partitions: 1, and its 5 entities are too many .*: at most 4 in all types of one "
        r"partition with model.dimension 5; expected none there"
    )
    with pytest.raises(DataError, match=line):
        require_shareable(graph, 5, 2)


LAUNCHED = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
OURS = MachinesConfig(ranks=2, address="10.0.0.7", port=5000, timeout=9)


def where(machines: MachinesConfig | None, rank: int | None, environment: dict[str, str]) -> Place | None:
    return place_of(machines, rank, environment, Path("meeting"))


def test_who_trains_is_said_by_command_config_or_launcher() -> None:
    path = Path("meeting")
    assert where(None, None, {}) is None
    assert where(None, None, {"RANK": "1", "WORLD_SIZE": "4"}) is None, "torch's convention has an address, too"
    assert where(OURS, None, {}) == Place(0, 2, "10.0.0.7", 5000, 9, path)
    assert where(OURS, 1, {}) == Place(1, 2, "10.0.0.7", 5000, 9, path)
    assert where(None, None, LAUNCHED) == Place(1, 4, "10.0.0.1", 29500, 300, path)
    agent = {**LAUNCHED, "TORCHELASTIC_RUN_ID": "x"}
    assert where(None, None, agent) == Place(1, 4, "10.0.0.1", 0, 300, path), "torchrun's agent listens on the port"
    here = {**agent, "LOCAL_WORLD_SIZE": "4"}
    assert where(None, None, here) == Place(1, 4, LOOPBACK, 0, 300, path), "all on this machine, whatever its name is"
    assert where(MachinesConfig(ranks=2), None, LAUNCHED) == Place(1, 2, "10.0.0.1", 29500, 300, path)


@pytest.mark.parametrize(
    ("machines", "rank", "environment", "line"),
    [
        (None, 1, {}, "--rank 1: expected model.machines"),
        (OURS, 2, {}, "rank 2: expected one below the 2 of"),
        (MachinesConfig(ranks=2), 0, {}, "model.machines.address: missing"),
        (MachinesConfig(ranks=2, address="0.0.0.0"), 0, {}, "'0.0.0.0' is every address of the machine"),
        (MachinesConfig(ranks=2, address="::"), 0, {}, "'::' is every address of the machine"),
        (None, None, {**LAUNCHED, "MASTER_PORT": "65536"}, "MASTER_PORT=65536: expected a port, at most 65535"),
        (None, None, {**LAUNCHED, "RANK": "one"}, "RANK='one': expected a whole number"),
    ],
)
def test_what_does_not_say_who_listens_where_is_refused(
    machines: MachinesConfig | None, rank: int | None, environment: dict[str, str], line: str
) -> None:
    with pytest.raises(ConfigError, match=line):
        where(machines, rank, environment)
