"""The stable entity map through the command line: places of the published run, `--rebuild`, abandoned runs."""

import json
from pathlib import Path

import pandas as pd
import pytest

from artifacts.formats.graph import load_graph
from partitioning import outcome
from pipeline.cli import main
from pipeline.workspace.workspace import Run, Workspace
from tests.partitioning.test_errors import config
from tests.worlds.partitioning_reference import ids


def partition(root: Path, users: range, *more: str) -> Run:
    """Builds the graph of a log in which each of the users clicked a pin; returns its run."""
    log = pd.DataFrame([(user, f"p{user % 7}", 1) for user in users], columns=["user", "pin", "ts"])
    log.to_parquet(root / "log.parquet")
    (root / "c.json").write_text(json.dumps({"graph": config(partitions=3), "model": {"operator": "transr"}}))
    assert main(["partition", str(root / "c.json"), "--root", str(root), *more]) == 0
    return Workspace(root / "runs/c").runs()[0]


def users(run: Run) -> list[list[str]]:
    directory = run.directory("partition")
    return ids(directory, load_graph(directory), "user")


def test_known_ids_keep_the_places_of_the_published_run(tmp_path: Path) -> None:
    first = partition(tmp_path, range(100))
    Workspace(tmp_path / "runs/c").publish(first)
    second = partition(tmp_path, range(50, 200))
    assert all(new[: len(old)] == old for old, new in zip(users(first), users(second), strict=True))
    assert second.metrics()["partition"]["known"] == {"user": 100, "pin": 7}


def test_an_unpublished_run_leaves_no_trace(tmp_path: Path) -> None:
    first = partition(tmp_path, range(100))
    Workspace(tmp_path / "runs/c").publish(first)
    partition(tmp_path, range(900, 950))
    third = partition(tmp_path, range(100, 150))
    assert {id for part in users(third) for id in part} == {str(user) for user in range(150)}


def test_rebuild_begins_anew_and_is_not_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(tmp_path / "runs/c")
    first = partition(tmp_path, range(100))
    workspace.publish(first)
    second = partition(tmp_path, range(50, 200), "--rebuild")
    assert "a fresh entity map (--rebuild)" in capsys.readouterr().out
    assert second.metrics()["partition"]["known"] == {"user": 0, "pin": 0}
    assert main(["partition", str(tmp_path / "c.json"), "--root", str(tmp_path)]) == 0
    assert workspace.runs()[0] == second, "up to date"
    third = partition(tmp_path, range(300))
    assert third.metrics()["partition"]["known"]["user"] == 0, "the published map is still the old one"
    workspace.publish(second)
    fourth = partition(tmp_path, range(400))
    assert fourth.metrics()["partition"]["known"]["user"] == 150


def test_another_number_of_partitions_begins_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Workspace(tmp_path / "runs/c").publish(partition(tmp_path, range(100)))
    partition(tmp_path, range(100), "--set", "graph.partitions=2")
    assert "a fresh entity map, since type 'user' had 3 partitions, now 2" in capsys.readouterr().out


def test_uneven_partitions_ask_for_a_rebuild(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "balanced", lambda counts: False)
    first = partition(tmp_path, range(100))
    assert "--rebuild" not in capsys.readouterr().out, "it would not help"
    Workspace(tmp_path / "runs/c").publish(first)
    assert partition(tmp_path, range(101)).metrics()["partition"]["unbalanced"] == ["user", "pin"]
    assert "the partitions of user, pin are uneven; it is time for `transra partition" in capsys.readouterr().out
