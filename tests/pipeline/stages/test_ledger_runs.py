"""Append-only sources through the command line: nights that are published, refused, killed or abandoned."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.files.intact import file_digest
from artifacts.formats.graph import load_graph
from partitioning import build as build_module
from pipeline.cli import main
from pipeline.workspace import inputs
from pipeline.workspace.workspace import Run, Workspace
from tests.worlds.ledger_world import ledger_config, rows_of, write_day, write_tables
from tests.worlds.night_world import newest

REPOSITORY = Path(__file__).resolve().parents[3]
KILLED = (
    "import os, signal, sys; from partitioning.engines import local_backend; from pipeline.cli import main;"
    "local_backend.write_buckets = lambda *a: os.kill(os.getpid(), signal.SIGKILL); sys.exit(main(sys.argv[1:]))"
)


def options(root: Path) -> list[str]:
    return ["partition", str(root / "c.json"), "--root", str(root)]


def contents(run: Run) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A published run that has counted two days, and a third day that it has not."""
    write_tables(tmp_path)
    for day in (1, 2):
        write_day(tmp_path, f"day-{day}", rows_of(day))
    (tmp_path / "c.json").write_text(json.dumps({"graph": ledger_config(), "model": {"operator": "transr"}}))
    assert main(options(tmp_path)) == 0
    workspace = Workspace(tmp_path / "runs/c")
    workspace.publish(workspace.runs()[0])
    write_day(tmp_path, "day-3", rows_of(3))
    return tmp_path


def test_a_night_adds_to_the_published_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options(root)) == 0
    metrics = newest(root).metrics()["partition"]
    assert metrics["files_settled"] == 3 and metrics["rows_read"] == {"log": 20, "people": 15}
    assert "(3 files were counted before)" in capsys.readouterr().out
    assert main(options(root)) == 0
    assert "partition: up to date" in capsys.readouterr().out


def test_a_night_that_was_not_published_is_counted_again(root: Path) -> None:
    assert main(options(root)) == 0
    write_day(root, "day-4", rows_of(4))
    assert main(options(root)) == 0
    assert newest(root).metrics()["partition"]["rows_read"]["log"] == 40


def test_another_config_says_why_it_counts_everything(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*options(root), "--set", "graph.seed=3"]) == 0
    assert "partition: counted all files again, since graph.seed changed from 0 to 3" in capsys.readouterr().out
    assert newest(root).metrics()["partition"]["rows_read"]["log"] == 60


def test_a_changed_file_is_refused_and_rebuild_counts_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = Workspace(root / "runs/c").latest
    assert published is not None
    before = contents(published)
    write_day(root, "day-1", rows_of(7))
    assert main(options(root)) == 65
    error = capsys.readouterr().err
    assert error.startswith("transra: log/day-1.parquet: ") and "mtime_ns changed from" in error
    assert contents(published) == before and not newest(root).partial("partition").exists()
    assert main([*options(root), "--rebuild"]) == 0
    assert newest(root).metrics()["partition"]["files_settled"] == 0


def test_a_renamed_relation_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*options(root), "--set", "graph.relations[0].name=viewed"]) == 2
    assert "'seen' is gone or has another name, but was counted as joining 'user' and 'pin'" in capsys.readouterr().err


def test_a_night_that_fails_leaves_the_published_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = newest(root)
    before = contents(published)
    monkeypatch.setattr(build_module, "write_graph_files", lambda *arguments: 1 / 0)
    assert main(options(root)) == 70
    monkeypatch.undo()
    assert contents(published) == before
    assert main(options(root)) == 0
    assert newest(root).metrics()["partition"]["files_settled"] == 3


def test_a_night_that_is_killed_leaves_the_published_run(root: Path) -> None:
    published = newest(root)
    before = contents(published)
    done = subprocess.run([sys.executable, "-c", KILLED, *options(root)], cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGKILL
    assert newest(root).partial("partition").exists() and contents(published) == before
    assert main(options(root)) == 0
    assert newest(root).metrics()["partition"]["files_settled"] == 3
    assert load_graph(newest(root).directory("partition")).relations[0].name == "seen"


def test_files_that_did_not_change_are_not_hashed_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed, digests = [], inputs.file_digests
    monkeypatch.setattr(
        inputs, "file_digests", lambda paths: hashed.extend(path.name for path in paths) or digests(paths)
    )
    assert main(options(root)) == 0
    assert [name for name in hashed if name.startswith("day-")] == ["day-3.parquet"]
    record = newest(root).record("partition")
    assert record is not None
    assert record["input_digests"] == {name: file_digest(root / name) for name in record["parts"]["inputs"]}
