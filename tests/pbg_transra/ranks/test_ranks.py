"""Several ranks train one model, each a process of its own: as good as one, and honest when one is gone."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pbg_transra.ranks.wire import listen
from tests.worlds.forks import ADDRESSES, NAMESPACES, ip, ranks, two_namespaces, until
from tests.worlds.night_world import transra, workspace_of
from tests.worlds.rank_world import (
    EPOCHS,
    LOOPBACK,
    ON_BOARD,
    PARTITIONS,
    REPOSITORY,
    Rank,
    buckets,
    committed,
    copy_of,
    judged,
    machines,
    mrr,
    rank_world,
)

LONG = "model.epochs=500"
NOISE = (
    0.05  # of an MRR of a small world: one machine's own is 0.989 to 1.0 over seeds; test_ranks_together.py is closer
)
pytestmark = pytest.mark.slow  # several processes, each of which starts a command


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rank_world(tmp_path_factory.mktemp("ranks"))


@pytest.fixture
def root(world: Path, tmp_path: Path) -> Path:
    return copy_of(world, tmp_path / "root")


@pytest.fixture(scope="module")
def alone(world: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """What one machine reaches."""
    root = copy_of(world, tmp_path_factory.mktemp("alone") / "root")
    assert transra(root, "train", "--quiet") == 0
    return mrr(root)


def assert_trained_once(root: Path) -> None:
    """Every bucket in every epoch."""
    counts = Counter((line["pass_index"], *line["bucket"]) for line in buckets(root))
    assert set(counts.values()) == {1}
    assert len(counts) == EPOCHS * PARTITIONS**2


def test_two_ranks_are_as_good_as_one(root: Path, alone: float) -> None:
    with ranks(Rank(root, 0), Rank(root, 1)) as (first, second):
        assert second.end()[0] == 0
        assert first.end()[0] == 0
    assert_trained_once(root)
    assert mrr(root) / alone == pytest.approx(1, abs=NOISE)
    assert not (workspace_of(root).path / ".ranks.json").exists()
    with ranks(Rank(root, 1)) as (again,):
        code, said = again.end()
    assert code == 0 and "up to date" in said


def test_torchrun_starts_them(root: Path, alone: float) -> None:
    """Without `model.machines`; its agent listens on MASTER_PORT."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    command = ["-m", "pipeline.cli", "train", str(root / "c.json"), "--root", str(root)]
    done = subprocess.run(
        [sys.executable, *launcher, *command],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "rank 1 of 2 trained" in done.stdout
    assert_trained_once(root)
    assert mrr(root) / alone == pytest.approx(1, abs=NOISE)


def free_port() -> int:
    with closing(listen(LOOPBACK, 0)) as one:
        return int(one.getsockname()[1])


@pytest.mark.parametrize("killed", [1, 0])
def test_a_killed_rank_ends_the_others_and_the_same_command_resumes(root: Path, killed: int) -> None:
    with ranks(Rank(root, 0, LONG), Rank(root, 1, LONG)) as both:
        until(lambda: committed(root) >= 2, "two passes")
        both[killed].signal(signal.SIGKILL)
        began = time.monotonic()
        code, said = both[1 - killed].end()
    assert time.monotonic() - began < 60, "it is promised"
    assert code == 75
    line = f"rank 1 ({socket.gethostname()}) is gone" if killed else "rank 0 is gone"
    assert f"transra: {line}; repeat the command on all ranks, and it resumes" in said
    assert "Traceback" not in said
    before = committed(root)
    fewer = f"model.epochs={before + 1}"
    with ranks(Rank(root, 0, fewer), Rank(root, 1, fewer)) as (first, second):
        assert second.end()[0] == 0
        code, said = first.end()
    assert code == 0
    assert f"went on after {before}" in said


def test_an_interrupted_rank_says_so_to_the_others(root: Path) -> None:
    with ranks(Rank(root, 0, LONG), Rank(root, 1, LONG)) as (first, second):
        until(lambda: committed(root) >= 1, "a pass")
        second.signal(signal.SIGTERM)
        assert second.end()[0] == 130
        code, said = first.end()
    assert code == 75
    assert f"rank 1 ({socket.gethostname()}) ended: interrupted; repeat the command" in said


def test_a_slow_rank_does_not_stop_the_others(root: Path) -> None:
    """It is stopped for a while: what needs none of its partitions is trained meanwhile, and then it goes on."""
    with ranks(Rank(root, 0, LONG), Rank(root, 1, LONG)) as (_, second):
        until(lambda: committed(root) >= 1, "a pass")
        assert any(goes_on_without(root, second) for _ in range(10)), "also when it is not stopped at the end of a pass"
        before = committed(root)
        until(lambda: committed(root) > before, "a pass of both")


def goes_on_without(root: Path, stopped: Rank) -> bool:
    """Whether buckets are trained while a rank is stopped; not at the end of a pass, when the others need it.

    Of three, it may have told of one as it was stopped, and another rank may have begun one before that.
    """
    stopped.signal(signal.SIGSTOP)
    try:
        before, end = len(buckets(root)), time.monotonic() + 20
        while len(buckets(root)) < before + 3 and time.monotonic() < end:
            time.sleep(0.05)
        return len(buckets(root)) >= before + 3
    finally:
        stopped.signal(signal.SIGCONT)


def test_rank_0_listens_on_the_address_that_it_is_told_and_no_other(root: Path) -> None:
    with ranks(Rank(root, 0)) as (first,):
        listening = until(lambda: listeners(first.process.pid or 0), "rank 0 listens")
        assert [address for address, _ in listening] == [LOOPBACK]
        first.signal(signal.SIGTERM)
        assert first.end()[0] == 130
    assert not (workspace_of(root).path / ".ranks.json").exists()


def test_missing_ranks_are_named(root: Path) -> None:
    with ranks(Rank(root, 0, machines(3, timeout=2))) as (first,):
        code, said = first.end()
    assert code == 75 and "transra: ranks 1, 2 did not come within 2 s; repeat the command on all ranks" in said


def listeners(pid: int) -> set[tuple[str, int]]:
    """Addresses and ports that a process listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        inodes |= {target[8:-1]} if target.startswith("socket:[") else set()
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                host, port = fields[1].split(":")
                found.add((socket.inet_ntoa(bytes.fromhex(host)[::-1]) if name == "tcp" else host, int(port, 16)))
    return found


def test_without_rank_0_the_others_say_so(root: Path) -> None:
    with ranks(Rank(root, 1, machines(timeout=3))) as (second,):
        code, said = second.end()
    assert code == 75
    assert ".ranks.json: rank 0 was not to be met within 3 s (it has not been there)" in said


def test_another_config_is_refused_on_both_sides(root: Path) -> None:
    with ranks(Rank(root, 0), Rank(root, 1, "model.lr=0.2")) as (first, second):
        code, said = second.end()
        line = f"rank 1 ({socket.gethostname()}) is not like rank 0: model.lr changed from 0.1 to 0.2"
        assert code == 2 and line in said
        code, said = first.end()
        assert code == 75 and line in said


def test_another_workspace_is_refused(root: Path, world: Path, tmp_path: Path) -> None:
    """The file of the meeting is there, and the run is not."""
    other = copy_of(world, tmp_path / "other")
    with ranks(Rank(root, 0)) as (first,):
        meeting = workspace_of(root).path / ".ranks.json"
        until(meeting.exists, "rank 0 waits")
        (run,) = workspace_of(other).runs()
        run.path.rename(run.path.with_name("20200101T000000.000Z-00000000"))
        shutil.copy(meeting, workspace_of(other).path / ".ranks.json")
        with ranks(Rank(other, 1)) as (second,):
            code, said = second.end()
        assert code == 65 and "is not there, expected the workspace of rank 0" in said
        assert first.process.is_alive(), "it waits for the right one"


def test_run_and_tune_are_for_rank_0(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", LOOPBACK)):
        monkeypatch.setenv(name, value)
    assert transra(root, "run", "--quiet") == 2
    assert "rank 1: expected `transra train" in capsys.readouterr().err


@pytest.fixture(scope="module")
def with_boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rank_world(tmp_path_factory.mktemp("boards"), boards=True)


@pytest.fixture
def namespaces() -> Iterator[None]:
    with two_namespaces():
        yield


def test_ranks_with_addresses_of_their_own(root: Path, alone: float, namespaces: None) -> None:
    """Whatever passes goes over the cards."""
    there = machines(address=ADDRESSES[0])
    started = [Rank(root, rank, there, namespace=name) for rank, name in NAMESPACES.items()]
    with ranks(*started) as (first, second):
        assert second.end()[0] == 0
        assert first.end()[0] == 0
    assert_trained_once(root)
    assert mrr(root) / alone == pytest.approx(1, abs=NOISE)


def test_a_type_of_one_partition_passes_over_the_network(with_boards: Path, tmp_path: Path, namespaces: None) -> None:
    """Every rank has a copy: what one learns of boards, the others know."""
    alone, together = (copy_of(with_boards, tmp_path / name) for name in ("alone", "together"))
    assert transra(alone, "train", "--quiet") == 0
    there = machines(address=ADDRESSES[0])
    started = [Rank(together, rank, there, namespace=name) for rank, name in NAMESPACES.items()]
    with ranks(*started) as (first, second):
        assert second.end()[0] == 0
        assert first.end()[0] == 0
    assert_trained_once(together)
    one, two = judged(alone), judged(together)
    assert two["mrr"] / one["mrr"] == pytest.approx(1, abs=NOISE)
    assert one["relations"][ON_BOARD]["mrr"] > 0.5, "at random it is 0.1 among 48 boards"
    assert two["relations"][ON_BOARD]["mrr"] / one["relations"][ON_BOARD]["mrr"] == pytest.approx(1, abs=2 * NOISE)


def test_a_graph_of_one_bucket_is_refused(root: Path) -> None:
    """Nothing can be shared out."""
    one = ("--set", "graph.partitions=1")
    assert transra(root, "partition", "--quiet", *one) == 0
    with ranks(Rank(root, 0, one[1])) as (first,):
        code, said = first.end()
    assert code == 65
    assert "transra: graph.entities: user, pin: one partition each, so there is one bucket, and nothing for 2" in said


def test_a_machine_that_vanishes_from_the_network_is_noticed(root: Path, namespaces: None) -> None:
    """Nothing closes its connections: the kernel gets no answer any more."""
    there = machines(address=ADDRESSES[0], timeout=600)
    started = [Rank(root, rank, there, LONG, namespace=name) for rank, name in NAMESPACES.items()]
    with ranks(*started) as (first, second):
        until(lambda: committed(root) >= 1, "a pass")
        began = time.monotonic()
        ip("-n", NAMESPACES[1], "link", "set", "transra-1", "down")
        code, said = first.end()
        assert time.monotonic() - began < 60, "it is promised"
        assert code == 75 and "transra: rank 1" in said and "is gone" in said
        code, said = second.end()
        assert code == 75 and "transra: rank 0 is gone" in said
