"""`publish`: the store that readers elsewhere take vectors from follows `latest`, wherever that moves."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.embeddings import Embeddings
from artifacts.published_store import PublishedStore, fetch
from pipeline.cli import main
from pipeline.running import store as module
from tests.worlds.night_world import latest_of, transra, workspace_of, write_config, write_day
from tests.worlds.s3_server import SECRET, S3Server, set_environment

URL = "s3://bucket/vectors/c"


@pytest.fixture
def root(tmp_path: Path, s3: S3Server) -> Path:
    """One night is published, and the log of the second is there."""
    write_day(tmp_path, 1)
    configure(tmp_path)
    assert transra(tmp_path, "run") == 0
    write_day(tmp_path, 2)
    return tmp_path


def configure(root: Path, **more: Any) -> None:
    write_config(root, publish={"url": URL, "keep": 2}, **more)


def fetched(root: Path) -> str:
    """The run that readers find, whose vectors are those of `latest` here."""
    copy = fetch(URL, root / "copies")
    there, here = Embeddings.open(copy), Embeddings.open(workspace_of(root).path / copy.name)
    assert there.path.read_bytes() == here.path.read_bytes() and (copy / "manifest.json").exists()
    return copy.name


def test_readers_follow_nights_rollbacks_and_promotions(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = latest_of(root)
    assert fetched(root) == first.id
    assert transra(root, "run") == 0
    second = latest_of(root)
    assert f"publish: {second.id} -> {URL}" in capsys.readouterr().out
    assert fetched(root) == second.id != first.id
    assert transra(root, "rollback") == 0 and fetched(root) == first.id
    assert transra(root, "promote", second.id) == 0 and fetched(root) == second.id
    write_day(root, 3)
    assert transra(root, "run") == 0
    third = latest_of(root)
    assert fetched(root) == third.id
    store = PublishedStore(URL)
    assert store.runs() == [second.id, third.id], "keep: 2"
    capsys.readouterr()
    assert transra(root, "purge", "--dry-run") == 0 and f"would remove {URL}/{second.id}" in capsys.readouterr().out
    assert store.runs() == [second.id, third.id]
    assert transra(root, "purge") == 0 and f"removed {URL}/{second.id}" in capsys.readouterr().out
    assert store.runs() == [third.id] and fetched(root) == third.id


def test_a_rejected_run_is_not_seen_elsewhere(root: Path) -> None:
    first = latest_of(root)
    configure(root, gate={"edges": 0.01})
    assert transra(root, "run") == 65
    assert fetched(root) == first.id and PublishedStore(URL).runs() == [first.id]


def test_a_store_that_is_down_is_caught_up_with(
    root: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = latest_of(root)
    set_environment(monkeypatch, "http://127.0.0.1:1")
    assert transra(root, "run") == 73
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"transra: {URL}/latest.json: cannot be read (") and SECRET not in line
    second = latest_of(root)
    assert second != first
    set_environment(monkeypatch, s3.url)
    assert fetched(root) == first.id
    assert transra(root, "run") == 0 and fetched(root) == second.id
    assert "train: up to date" in capsys.readouterr().out


def test_killed_between_latest_here_and_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, whole = latest_of(root), module.PublishedStore.publish

    def killed(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.PublishedStore, "publish", killed)
    assert transra(root, "run") == 130
    monkeypatch.setattr(module.PublishedStore, "publish", whole)
    assert fetched(root) == first.id != latest_of(root).id
    assert transra(root, "purge") == 0, "which leaves nothing of the runs before, there neither"
    assert PublishedStore(URL).runs() == [latest_of(root).id] == [fetched(root)]


def test_two_configs_do_not_share_a_store(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = latest_of(root)
    (root / "other.json").write_text((root / "c.json").read_text())
    assert main(["run", str(root / "other.json"), "--root", str(root)]) == 2
    assert f"publish.url: {URL} has the runs of 'c'; expected a place of its own for 'other'" in capsys.readouterr().err
    assert fetched(root) == first.id


def test_what_is_not_ours_stays(root: Path, s3: S3Server) -> None:
    for key in ("vectors/c/notes/a.txt", "vectors/c/20200101T000000.000Z-00000000/b.txt", "vectors/other/c.txt"):
        s3.put(key, b"x")
    assert transra(root, "run") == 0 and transra(root, "purge") == 0
    assert PublishedStore(URL).runs() == ["20200101T000000.000Z-00000000", latest_of(root).id, "notes"]


@pytest.mark.parametrize(
    "url", ["runs/there", "https://example.org/x", "s3://key:secret@bucket/x", "http://[::1/x", "/srv/x"]
)
def test_where_nothing_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    write_day(tmp_path, 1)
    write_config(tmp_path, publish={"url": url})
    assert main(["config", "check", str(tmp_path / "c.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("transra: publish.url: ") and "secret" not in line
