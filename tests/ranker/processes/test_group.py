"""`python -m ranker` by several processes that no agent starts: how they meet, and what ends them."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ranker.__main__ import main
from ranker.config.arms import ARMS
from ranker.processes import group, watch
from ranker.processes.group import ALONE, LAUNCHED, interface_to
from tests.worlds.forks import ADDRESSES, NAMESPACES, Fork, ip, ranks, two_namespaces, until
from tests.worlds.small_impressions import SmallWorld, config, world_with_run

LOOPBACK = "127.0.0.1"
HOST = socket.gethostname()
AGAIN = "; repeat the command on all of them, and it resumes"
LONG = {"batch_size": 8, "epochs": 1000, "patience": 10_000, "eval_every": 20, "lr": 1e-6}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    return world_with_run(tmp_path_factory.mktemp("group"))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine is taken for gone a little earlier; `fork` takes it along."""
    monkeypatch.setattr(watch, "SILENT", 10.0)
    monkeypatch.setattr(watch, "GRACE", 5.0)


class Process(Fork):
    """One of `count` processes of a ranking into `out`."""

    def __init__(
        self,
        world: SmallWorld,
        out: Path,
        place: int,
        port: int,
        training: dict[str, Any],
        count: int = 2,
        address: str = LOOPBACK,
        namespace: str | None = None,
    ) -> None:
        settings = config(arms={"attention": ARMS["attention"]}, training=training)
        path = out.with_name(f"{place}-{time.monotonic_ns()}.json")
        path.write_text(json.dumps({"ranker": settings.model_dump(mode="json")}))
        arguments = [str(path), "--vectors", "run", "--out", str(out), "--root", str(world.root)]
        values = dict(zip(LAUNCHED, map(str, (place, count, address, port)), strict=True))
        super().__init__(partial(_ranked, arguments, values), path.with_suffix(".txt"), namespace)


def _ranked(arguments: list[str], environment: dict[str, str]) -> int:
    os.environ.update(environment)
    return main(arguments)


def free_port() -> int:
    with closing(socket.create_server((LOOPBACK, 0))) as one:
        return int(one.getsockname()[1])


def trains(out: Path) -> bool:
    """Whether a state is there that a repeated command would go on from."""
    return bool(list(out.glob("arms/*/*/*/state.pt")))


@pytest.mark.parametrize("killed", [1, 0])
def test_a_killed_process_ends_the_other_and_the_same_command_resumes(
    world: SmallWorld, tmp_path: Path, killed: int
) -> None:
    out, port = tmp_path / "out", free_port()
    with ranks(*(Process(world, out, place, port, LONG) for place in range(2))) as both:
        until(lambda: trains(out), "a validation")
        both[killed].signal(signal.SIGKILL)
        began = time.monotonic()
        code, said = both[1 - killed].end()
    assert time.monotonic() - began < 60, "it is promised"
    assert code == 75
    assert f"ranker: process {killed} ({HOST}) is gone{AGAIN}\n" in said and "Traceback" not in said
    (state,) = out.glob("arms/*/*/*/state.pt")
    step = torch.load(state, weights_only=True)["progress"]["step"]
    with ranks(*(Process(world, out, place, port, LONG) for place in range(2))) as both:
        until(lambda: torch.load(state, weights_only=True)["progress"]["step"] > step, "it goes on")
        both[0].signal(signal.SIGINT)
        code, said = both[0].end()
        assert code == 130 and "ranker: interrupted; the same command goes on" in said
        code, said = both[1].end()
        assert code == 75 and f"ranker: process 0 ({HOST}) ended: interrupted{AGAIN}\n" in said


def test_a_process_that_gives_no_sign_of_life_is_taken_for_gone(world: SmallWorld, tmp_path: Path, short: None) -> None:
    """Its connections stay open: whoever waits for it would wait for hours."""
    out, port = tmp_path / "out", free_port()
    with ranks(*(Process(world, out, place, port, LONG) for place in range(2))) as (first, second):
        until(lambda: trains(out), "a validation")
        second.signal(signal.SIGSTOP)
        began = time.monotonic()
        code, said = first.end()
    assert time.monotonic() - began < 60
    assert code == 75 and f"ranker: process 1 ({HOST}) is gone{AGAIN}\n" in said


def test_another_config_is_refused_by_name_on_both_sides(world: SmallWorld, tmp_path: Path) -> None:
    out, port = tmp_path / "out", free_port()
    one, other = (Process(world, out, place, port, {"lr": 0.1 * (1 + place)}) for place in range(2))
    with ranks(one, other) as both:
        for code, said in (process.end() for process in both):
            assert code == 2
            line = f"process 1 ({HOST}) is not like process 0: ranker.training.lr changed from 0.1 to 0.2"
            assert f"ranker: {line}\n" in said
    assert not trains(out)


def test_other_data_is_refused_by_name(
    world: SmallWorld, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = world_with_run(tmp_path_factory.mktemp("other"), seed=1)
    port = free_port()
    with ranks(
        *(Process(root, tmp_path / "out", place, port, {}) for place, root in enumerate((world, other)))
    ) as both:
        for code, said in (process.end() for process in both):
            assert code == 2 and f"ranker: process 1 ({HOST}) is not like process 0: impressions changed from " in said


def test_what_ends_one_is_said_by_the_other(world: SmallWorld, tmp_path: Path) -> None:
    port = free_port()
    nowhere = SmallWorld(tmp_path / "nowhere", world.export, {})
    nowhere.root.mkdir()
    with ranks(Process(world, tmp_path / "out", 0, port, {}), Process(nowhere, tmp_path / "out", 1, port, {})) as (
        first,
        second,
    ):
        code, said = second.end()
        assert code == 65 and "nowhere/run" in said
        code, of_first = first.end()
        assert code == 75 and of_first.count("\n") == 1 + of_first.count("%")
        assert f"ranker: process 1 ({HOST}) ended: {said.removeprefix('ranker: ').strip()}{AGAIN}" in of_first


def test_missing_processes_are_named(world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "ARRIVAL", timedelta(seconds=2))
    port = free_port()
    with ranks(Process(world, tmp_path / "out", 0, port, {}, count=3)) as (first,):
        code, said = first.end()
    assert code == 75 and f"ranker: processes 1, 2 did not come within 2 s{AGAIN}{ALONE}\n" in said
    with ranks(Process(world, tmp_path / "out", 1, port, {})) as (second,):
        code, said = second.end()
    assert code == 75 and f"ranker: process 0 was not to be met at {LOOPBACK}:{port} within 2 s{AGAIN}{ALONE}\n" in said


def test_a_port_in_use_is_named(world: SmallWorld, tmp_path: Path) -> None:
    with closing(socket.create_server((LOOPBACK, 0))) as taken:
        port = taken.getsockname()[1]
        with ranks(Process(world, tmp_path / "out", 0, port, {})) as (first,):
            code, said = first.end()
    assert code == 2 and f"ranker: MASTER_ADDR: process 0 cannot listen on {LOOPBACK}:{port}: Address already" in said


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("1", "1", LOOPBACK, "1"), "RANK=1: expected one below WORLD_SIZE=1"),
        (("one", "2", LOOPBACK, "1"), "RANK='one'"),
        (("0", "2", LOOPBACK, "65536"), "MASTER_PORT=65536: expected one that is free"),
        (("0", "2", LOOPBACK, "0"), "MASTER_PORT=0: expected one that is free"),
        (("0", "2", "0.0.0.0", "1"), "MASTER_ADDR=0.0.0.0: is every address"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(
    values: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in zip(LAUNCHED, values, strict=True):
        monkeypatch.setenv(name, value)
    assert main(["nowhere.json", "--out", "nowhere"]) == 2
    assert f"ranker: {message}" in capsys.readouterr().err


def test_processes_that_do_not_know_of_each_other_do_not_write_into_one_directory(
    world: SmallWorld, tmp_path: Path
) -> None:
    """Each is one of one, as a pod's environment may say: they do not meet, and need no port."""
    out = tmp_path / "out"
    with ranks(Process(world, out, 0, 1, LONG, count=1)) as (first,):
        until(lambda: trains(out), "a validation")
        with ranks(Process(world, out, 0, 1, LONG, count=1)) as (second,):
            code, said = second.end()
        assert code == 75 and f"ranker: {out}: another ranking writes into it; try again later" in said
        first.signal(signal.SIGINT)
        assert first.end()[0] == 130


def test_the_interface_is_that_which_leads_to_the_first() -> None:
    assert interface_to(LOOPBACK) == interface_to("localhost") == "lo"
    assert interface_to("no-such-host.invalid") is None


@pytest.fixture
def namespaces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With a loopback each, over which a store is reached by who has it."""
    monkeypatch.setattr(group, "ARRIVAL", timedelta(seconds=60))
    with two_namespaces():
        for name in NAMESPACES.values():
            ip("-n", name, "link", "set", "lo", "up")
        yield


def in_namespaces(world: SmallWorld, out: Path, training: dict[str, Any]) -> list[Process]:
    return [
        Process(world, out, place, 5077, training, address=ADDRESSES[0], namespace=name)
        for place, name in NAMESPACES.items()
    ]


def test_processes_with_addresses_of_their_own(world: SmallWorld, tmp_path: Path, namespaces: None) -> None:
    with ranks(*in_namespaces(world, tmp_path / "out", {"batch_size": 64})) as both:
        (_, of_first), (_, of_second) = answers = [process.end() for process in both]
        assert [code for code, _ in answers] == [0, 0], answers
        assert "match rate" in of_first and "match rate" not in of_second
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["arms"]["attention"]["ctr"]["auc"] > 0.6


def test_a_machine_that_vanishes_from_the_network_is_noticed(
    world: SmallWorld, tmp_path: Path, namespaces: None, short: None
) -> None:
    """Nothing closes its connections: the kernel gets no answer any more."""
    out = tmp_path / "out"
    with ranks(*in_namespaces(world, out, LONG)) as (first, second):
        until(lambda: trains(out), "a validation")
        began = time.monotonic()
        ip("-n", NAMESPACES[1], "link", "set", "transra-1", "down")
        code, said = first.end()
        assert code == 75 and f"ranker: process 1 ({HOST}) is gone" in said
        code, said = second.end()
        assert code == 75 and f"ranker: process 0 ({HOST}) is gone" in said
        assert time.monotonic() - began < 60, "it is promised"
