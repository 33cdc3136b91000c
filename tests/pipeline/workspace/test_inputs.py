"""Fingerprints follow content: what was moved, touched or put back is what it was, and what was changed is not."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.workspace import inputs
from tests.worlds.ledger_world import ledger_config, rows_of, write_tables
from tests.worlds.ledger_world import write_day as write_ledger_day
from tests.worlds.night_world import transra, write_config, write_day

MODEL = {"operator": "transr", "dimension": 8, "epochs": 1, "workers": 1}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a Parquet log whose run went all the way."""
    root = tmp_path_factory.mktemp("inputs") / "root"
    root.mkdir()
    write_day(root, 1)
    write_day(root, 2)
    write_config(root)
    assert transra(root, "run") == 0
    return root


@pytest.fixture
def root(published: Path, tmp_path: Path) -> Path:
    """A copy at another place that keeps times, as `cp -a` makes it."""
    return Path(shutil.copytree(published, tmp_path / "root", symlinks=True))


def states(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert transra(root, "status", "--json") == 0
    return {name: one["state"] for name, one in json.loads(capsys.readouterr().out)["stages"].items()}


def touched(root: Path) -> Path:
    for path in (root / "log").iterdir():
        os.utime(path)
    return root


def restored(root: Path) -> Path:
    """The logs from a backup that keeps no times."""
    for path in (root / "log").iterdir():
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    return root


def renamed(root: Path) -> Path:
    return root.rename(root.with_name("elsewhere"))


def copied(root: Path) -> Path:
    """The whole root, workspace and all, without times."""
    return Path(shutil.copytree(root, root.with_name("copy"), symlinks=True, copy_function=shutil.copyfile))


@pytest.mark.parametrize("change", [touched, restored, renamed, copied, lambda root: touched(renamed(root))])
def test_the_same_content_is_up_to_date(
    root: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], Path]
) -> None:
    root = change(root)
    assert set(states(root, capsys).values()) == {"up to date"}
    assert transra(root, "run") == 0
    assert "in 0" not in capsys.readouterr().out, "nothing is made"


def test_a_changed_byte_is_another_content(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the same size: where the time differs, and in a Parquet footer where the time was put back, too."""
    path = root / "log/day-1.parquet"
    content, before = path.read_bytes(), path.stat()
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    assert states(root, capsys)["partition"] == "stale"
    path.write_bytes(content)
    assert states(root, capsys)["partition"] == "up to date"
    path.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert states(root, capsys)["partition"] == "stale"


def test_a_renamed_or_added_file_is_another_input(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "log/day-2.parquet").rename(root / "log/day-3.parquet")
    assert states(root, capsys)["partition"] == "stale"


def test_a_digest_is_taken_once(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was `status` that took it, and where it did not know the content."""
    hashed: list[Path] = []
    digests = inputs.file_digests

    def counted(paths: Any) -> Any:
        hashed.extend(paths := list(paths))
        return digests(paths)

    monkeypatch.setattr(inputs, "file_digests", counted)
    assert set(states(root, capsys).values()) == {"up to date"} and not hashed
    touched(root)
    (root / "log/day-1.parquet").write_bytes((root / "log/day-1.parquet").read_bytes()[::-1])
    for _ in range(3):
        assert states(root, capsys)["partition"] == "stale"
    assert sorted(path.name for path in hashed) == ["day-1.parquet", "day-2.parquet"]


def test_without_its_memory_unchanged_files_are_known(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "runs/c/.inputs.json").unlink()
    assert set(states(root, capsys).values()) == {"up to date"}
    (root / "runs/c/.inputs.json").write_text("{")
    assert transra(root, "status") == 65
    assert "what inputs held; remove it" in capsys.readouterr().err


def test_who_may_not_write_may_look(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touched(root)
    workspace = root / "runs/c"
    before = (workspace / ".inputs.json").read_text()
    (workspace / ".lock").unlink()  # root may write anywhere: what is not there cannot be held
    assert set(states(root, capsys).values()) == {"up to date"}
    assert (workspace / ".inputs.json").read_text() == before
    assert stat.S_ISREG((workspace / ".inputs.json").stat().st_mode)


def test_a_counted_file_that_was_touched_stays_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tables(tmp_path)
    write_ledger_day(tmp_path, "day-1", rows_of(1))
    (tmp_path / "c.json").write_text(json.dumps({"graph": ledger_config(), "model": MODEL}))
    run = ["run", str(tmp_path / "c.json"), "--root", str(tmp_path), "--until", "export"]
    assert main(run) == 0
    for path in (tmp_path / "log/day-1.parquet", tmp_path / "people.csv", tmp_path / "table.csv"):
        os.utime(path, (1, 1))
    write_ledger_day(tmp_path, "day-2", rows_of(2))
    capsys.readouterr()
    assert main(run) == 0
    out = capsys.readouterr().out
    assert "(2 files were counted before)" in out and "counted all files again" not in out


def test_verify_reads_what_has_moved(root: Path) -> None:
    root = renamed(root)
    assert transra(root, "partition", "--verify") == 0
    path = root / "log/day-1.parquet"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    assert transra(root, "train", "--verify") == 2, "the graph is stale"
