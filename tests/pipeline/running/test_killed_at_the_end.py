"""SIGKILL between the end of a stage's work and its place in the run: no work is lost, and no reader finds a gap."""

import importlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.files import publish
from partitioning import GraphConfig
from pipeline.cli import main
from tests.worlds.forks import Fork
from tests.worlds.ledger_world import ledger_config, rows_of, write_day, write_tables

MODEL = {"dimension": 8, "epochs": 3, "workers": 1, "operator": "transr"}


def transra(
    root: Path, command: str, workspace: Path, *more: str, before: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Exit code of a command in a process of its own, and what it said; `before` is done there first."""
    options = [command, str(root / "c.json"), "--root", str(root), "--workspace", str(workspace), *more]

    def work() -> int:
        before()
        return main(options)

    return Fork(work, workspace.with_name(f"said-{time.monotonic_ns()}.txt")).end()


def killed(module: str, name: str, directory: str, after: bool = False, exchanges: bool = True) -> Callable[[], None]:
    """Replaces a function of ours by one that ends the process, before (or after) what it does in the directory."""

    def replace() -> None:
        place = importlib.import_module(module)
        real = getattr(place, name)

        def replaced(*args: Any, **options: Any) -> Any:
            done = real(*args, **options) if after else None
            if any(directory in str(arg) for arg in args):
                os.kill(os.getpid(), signal.SIGKILL)
            return done if after else real(*args, **options)

        setattr(place, name, replaced)
        if not exchanges:
            publish.exchange = lambda one, other: False

    return replace


def again(root: Path, command: str, workspace: Path, *more: str) -> dict:
    """What the command says once nobody kills it."""
    code, said = transra(root, command, workspace, "--json", *more)
    assert code == 0, said
    return json.loads(said)["stages"][command]


def left_in(workspace: Path) -> list[str]:
    marks = (".partial", ".replaced", ".calibration-", "identity.json", "made.json")
    return [str(path) for path in workspace.rglob("*") if any(mark in path.name for mark in marks)]


def run_of(workspace: Path) -> Path:
    return next(path for path in workspace.iterdir() if path.name[0] == "2" and path.is_dir())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace `graph` with a graph, and one `whole` with a published run of it, evaluated."""
    root = tmp_path_factory.mktemp("killed")
    write_tables(root)
    write_day(root, "day-1", rows_of(1, range(200)))
    graph = json.loads(GraphConfig.model_validate(ledger_config(split={"random": {"test": 0.2}})).model_dump_json())
    (root / "c.json").write_text(json.dumps({"graph": graph, "model": MODEL}))
    again(root, "partition", root / "graph")
    shutil.copytree(root / "graph", root / "whole", symlinks=True)
    code, said = transra(root, "run", root / "whole")
    assert code == 0, said
    return root


@pytest.mark.parametrize(
    ("module", "name", "after"),
    [
        ("pipeline.running.runner", "tree_digests", False),
        pytest.param("pipeline.running.runner", "write_json", False, marks=pytest.mark.slow),  # identity.json is there
        ("pipeline.running.runner", "publish", False),
        pytest.param("pipeline.running.runner", "publish", True, marks=pytest.mark.slow),
    ],
)
def test_a_finished_training_is_kept(root: Path, tmp_path: Path, module: str, name: str, after: bool) -> None:
    workspace = Path(shutil.copytree(root / "graph", tmp_path / "runs", symlinks=True))
    run = run_of(workspace)
    code, said = transra(root, "train", workspace, before=killed("pbg_transra", "train", "model.partial", after=True))
    assert code == -signal.SIGKILL, said
    assert (run / "model.partial" / "identity.json").exists()
    (workspace / ".calibration-x").mkdir()
    code, said = transra(root, "train", workspace, before=killed(module, name, "model.partial", after))
    assert code == -signal.SIGKILL, said
    assert not (workspace / ".calibration-x").exists()
    if name == "tree_digests":  # what it needs to resume may be gone by then
        code, _ = transra(root, "train", workspace, before=killed("pbg_transra", "train", "model.partial"))
        assert code == 0, "a finished training is not asked again"
    found = again(root, "train", workspace)
    assert (found["metrics"]["resumed_epochs"], found["metrics"]["epochs"]) == (3, 3)
    assert found["made"] is not (after or name == "tree_digests")
    assert left_in(workspace) == []
    assert transra(root, "train", workspace, "--verify")[0] == 0


@pytest.mark.parametrize(
    ("module", "name", "where", "after", "exchanges"),
    [
        pytest.param("pipeline.running.runner", "publish", "evaluate.partial", False, True, marks=pytest.mark.slow),
        # the old one is still there, under its name
        ("artifacts.files.publish", "exchange", "evaluate.partial", True, True),
        ("artifacts.files.publish", "_aside", "evaluate", True, False),  # a file system that cannot exchange
        pytest.param("os", "rename", "evaluate.partial", True, False, marks=pytest.mark.slow),
    ],
)
def test_a_published_stage_is_never_lost(
    root: Path, tmp_path: Path, module: str, name: str, where: str, after: bool, exchanges: bool
) -> None:
    """An evaluation made anew in a published run: the old whole or the new whole, whatever the kill."""
    workspace = Path(shutil.copytree(root / "whole", tmp_path / "runs", symlinks=True))
    record, fewer = workspace / "latest" / "evaluate" / "stage.json", ("--set", "evaluate.max_edges=5")
    before = record.read_bytes()
    code, said = transra(root, "evaluate", workspace, *fewer, before=killed(module, name, where, after, exchanges))
    assert code == -signal.SIGKILL, said
    if exchanges:
        assert (record.read_bytes() == before) is not after
    assert again(root, "evaluate", workspace)["made"] is (exchanges and after or name == "rename")
    assert again(root, "evaluate", workspace, *fewer)["metrics"]["triples"] == 5
    assert left_in(workspace) == []


def directory(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_directory_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr(publish, "exchange", lambda one, other: False)
    old, new = directory(tmp_path / "stage", "old"), directory(tmp_path / "stage.partial", "new")
    publish.publish(new, old)
    assert (old / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [old]


def test_without_an_exchange_the_old_one_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two renames."""
    old, new = directory(tmp_path / "stage", "old"), directory(tmp_path / "stage.partial", "new")
    monkeypatch.setattr(publish, "exchange", lambda one, other: False)
    aside = publish._aside(old)
    assert not old.exists()
    publish.restore(aside)
    assert (old / "file").read_text() == "old"
    aside = publish._aside(old)
    new.rename(old)
    publish.restore(aside)
    assert (old / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [old]


def test_what_cannot_be_exchanged_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        publish.exchange(directory(tmp_path / "there", ""), tmp_path / "missing")
