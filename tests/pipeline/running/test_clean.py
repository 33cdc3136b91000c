"""`transra clean`: what it lists, what it removes, and what it leaves to whoever names it or still reads it."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.embeddings import Embeddings
from pipeline.workspace.lock import locked
from pipeline.workspace.workspace import Run
from tests.worlds.night_world import latest_of, transra, workspace_of, write_config, write_day

OLD = "20200101T000000.00{}Z-00000000"  # names of runs before the published one


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published night, and two that the gate has rejected."""
    root = tmp_path_factory.mktemp("clean") / "root"
    root.mkdir()
    write_config(root, gate={"edges": 0.01})
    for day, code in ((1, 0), (2, 65), (3, 65)):
        write_day(root, day)
        assert transra(root, "run") == code
    return root


@pytest.fixture
def root(nights: Path, tmp_path: Path) -> Path:
    root = Path(shutil.copytree(nights, tmp_path / "root", symlinks=True))
    write_config(root, gate={"edges": 0.01}, keep={"runs": 2, "rejected": 1})
    return root


def litter(root: Path) -> dict[str, str]:
    """Puts everything there that killed commands and runs that were given up leave; returns the kind of each."""
    workspace, latest = workspace_of(root).path, latest_of(root)
    for name in (".purged-a", ".calibration-b", ".tuning", f"{latest.id}/graph.partial", OLD.format(1)):
        (workspace / name).mkdir()
    (workspace / ".c.json.partial").write_text("{")
    (workspace / ".tuning/large").write_bytes(bytes(1 << 20))
    trained = workspace / OLD.format(2)
    trained.mkdir()
    shutil.copytree(latest.directory("train"), trained / "model")
    begun = workspace / OLD.format(3) / "model.partial"
    begun.mkdir(parents=True)
    (begun / "identity.json").write_text("{}")
    _, rejected, _ = nights_of(root)
    left = (".purged-a", ".calibration-b", ".tuning", ".c.json.partial", f"{latest.id}/graph.partial")
    return {
        **dict.fromkeys(left, "leftover"),
        rejected.id: "rejected",
        OLD.format(1): "abandoned",
        OLD.format(2): "trained",
        f"{OLD.format(3)}/model.partial": "interrupted",
    }


def nights_of(root: Path) -> list[Run]:
    """The newest rejected run, the one before it, and the published one."""
    return [run for run in workspace_of(root).runs() if run.record("export")]


def clean(root: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    capsys.readouterr()
    assert transra(root, "clean", *more, "--json") == 0
    return dict(json.loads(capsys.readouterr().out))


def files_of(run: Run) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_it_lists_and_removes_nothing_unless_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = litter(root)
    for more in ((), ("--yes", "--dry-run")):
        found = clean(root, capsys, *more)
        assert {one["path"]: one["kind"] for one in found["found"]} == expected and found["removed"] == []
        assert all((workspace_of(root).path / name).exists() for name in expected)
    sizes = {one["path"]: one["bytes"] for one in found["found"]}
    assert sizes[".tuning"] >= 1 << 20 and sizes[".c.json.partial"] <= 4096
    assert transra(root, "clean") == 0
    out = capsys.readouterr().out
    assert "1.0 MiB, 0:00:0" in out and "leftover .tuning (a command that was killed left it behind)" in out
    assert "model.partial (the same command resumes it; goes with --only alone)" in out
    assert "clean: 7, " in out and "to remove; --yes removes them" in out


def test_yes_removes_all_but_hours_of_work(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected, (newest, _, latest) = litter(root), nights_of(root)
    before = files_of(newest), files_of(latest)
    found = clean(root, capsys, "--yes")
    kept = {name for name, kind in expected.items() if kind in ("trained", "interrupted")}
    assert set(found["removed"]) == expected.keys() - kept
    assert all((workspace_of(root).path / name).exists() == (name in kept) for name in expected)
    assert (files_of(newest), files_of(latest)) == before and latest_of(root) == latest
    assert {one["path"] for one in clean(root, capsys)["found"]} == kept, "and again there is nothing more"
    assert clean(root, capsys, "--yes", "--only", f"{OLD.format(3)}/model.partial/", "--only", OLD.format(2))["removed"]
    assert [one["kind"] for one in clean(root, capsys)["found"]] == ["abandoned"], "the run that held it"


def test_only_what_is_named_goes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = litter(root)
    assert clean(root, capsys, "--yes", "--only", ".tuning")["removed"] == [".tuning"]
    assert all((workspace_of(root).path / name).exists() for name in expected.keys() - {".tuning"})
    for name in (latest_of(root).id, ".tuning", "../..", "latest"):
        assert transra(root, "clean", "--yes", "--only", name) == 2
        assert f"clean --only {name}: not among what can go, expected one of: .c" in capsys.readouterr().err


def test_without_keep_rejected_runs_stay(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(root)
    assert clean(root, capsys, "--yes") == {**clean(root, capsys), "removed": []}
    assert len(workspace_of(root).runs()) == 3


def test_what_somebody_reads_stays(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As long as the vectors are mapped, though the file was closed."""
    _, rejected, _ = nights_of(root)
    vectors = Embeddings.open(rejected.path).vectors("user")
    assert clean(root, capsys, "--yes", "--only", rejected.id)["removed"] == []
    assert transra(root, "clean", "--yes") == 0
    assert f"rejected {rejected.id} (more rejected runs than keep.rejected; stays, somebody reads its vectors)" in (
        capsys.readouterr().out
    )
    assert len(vectors) and rejected.path.exists()
    del vectors
    assert clean(root, capsys, "--yes")["removed"] == [rejected.id]


def test_keep_leaves_what_somebody_reads_to_the_next_night(root: Path) -> None:
    first = latest_of(root)
    write_config(root, keep={"runs": 1, "rejected": 0})
    write_day(root, 4)
    vectors = Embeddings.open(first.path).vectors("user")
    assert transra(root, "run") == 0
    assert first.path.exists() and latest_of(root) != first and len(vectors)
    del vectors
    write_day(root, 5)
    assert transra(root, "run") == 0
    assert workspace_of(root).runs() == [latest_of(root)]


@pytest.fixture
def calibrating(root: Path) -> Iterator[Path]:
    """The directory of `train --dry-run`, which holds nothing else, while it is at work."""
    path = workspace_of(root).path / ".calibration-x"
    path.mkdir()
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield path
    os.close(handle)


def test_what_a_command_is_making_is_no_leftover(
    root: Path, calibrating: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrating.name not in clean(root, capsys, "--yes")["removed"] and calibrating.exists()
    with locked(workspace_of(root).path):
        assert transra(root, "clean") == 75
    assert "locked by" in capsys.readouterr().err


def test_what_the_next_command_goes_on_with_is_not_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is published yet, or the run is newer: its graph and training will be exported."""
    write_day(tmp_path, 1)
    write_config(tmp_path)
    assert transra(tmp_path, "clean") == 2
    assert "there is no workspace yet" in capsys.readouterr().err
    for _ in range(2):
        assert transra(tmp_path, "run", "--until", "train") == 0
        assert clean(tmp_path, capsys, "--yes")["found"] == []
        assert transra(tmp_path, "run") == 0
        write_day(tmp_path, 2)
