"""A store of published runs: its readers find a whole run at every moment, or a line that says why not."""

import json
import shutil
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError, ResourceError
from artifacts.files.publish import write_json
from artifacts.formats.reader_schema import SCHEMA_VERSION
from artifacts.formats.run import EMBEDDINGS, EXPORT, MANIFEST
from artifacts.published_store import POINTER, PublishedStore, fetch
from tests.artifacts.test_embeddings_file import DIMENSION, write
from tests.worlds.s3_server import S3Server

NAMES = (f"{EXPORT}/{EMBEDDINGS}", "metrics.json", MANIFEST)


def make(directory: Path, number: int) -> Path:
    """A run whose vectors all hold its number."""
    run = directory / f"20261129T0{number % 10}-{number:05d}"
    (run / EXPORT).mkdir(parents=True)
    write(run / EXPORT / EMBEDDINGS, list("abcde"), np.full((5, DIMENSION), number, np.float32))
    digest = sha256((run / EXPORT / EMBEDDINGS).read_bytes()).hexdigest()
    write_json(run / "metrics.json", {})
    write_manifest(run, stages={"export": {"outputs": {EMBEDDINGS: digest}}})
    return run


def write_manifest(run: Path, **more: Any) -> None:
    write_json(run / MANIFEST, {"schema_version": SCHEMA_VERSION, "run": run.name, **more})


@pytest.fixture
def on_disk(tmp_path: Path) -> PublishedStore:
    return PublishedStore(f"file://{tmp_path}/store")


@pytest.fixture(params=["file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PublishedStore]:
    if request.param == "s3":
        request.getfixturevalue("s3")
        yield PublishedStore("s3://bucket/vectors/c")
        return
    yield PublishedStore(f"file://{tmp_path}/store" if request.param == "file" else "memory://vectors/c/")
    fsspec.filesystem("memory").store.clear()


def number_in(copy: Path) -> int:
    """The number that a run's vectors all hold, which is that of its name."""
    export = Embeddings.open(copy)
    (number,) = {value for kind in export.types for value in export.vectors(kind).ravel().tolist()}
    assert copy.name.endswith(f"-{int(number):05d}")
    return int(number)


def test_what_is_published_is_what_readers_fetch(store: PublishedStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing is published there"):
        fetch(store.url, tmp_path / "copies")
    for number in (1, 2):
        run = make(tmp_path / "runs", number)
        store.publish(run, NAMES, "c")
        copy = fetch(store.url, tmp_path / "copies")
        assert number_in(copy) == number
        assert (copy / MANIFEST).read_bytes() == (run / MANIFEST).read_bytes()
        assert fetch(store.url, tmp_path / "copies") == copy
    assert len(store.runs()) == 2 and len(list((tmp_path / "copies").iterdir())) == 2
    store.remove(store.runs()[0])
    assert store.runs() == [run.name]


def test_readers_while_runs_are_published_and_removed(store: PublishedStore, tmp_path: Path) -> None:
    runs = [make(tmp_path / "runs", number) for number in range(12)]
    store.publish(runs[0], NAMES, "c")
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for before, run in zip(runs, runs[1:], strict=False):
                PublishedStore(store.url).publish(run, NAMES, "c")
                PublishedStore(store.url).remove(before.name)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        copies = tmp_path / "copies"
        number_in(fetch(store.url, copies))
        shutil.rmtree(copies)
    thread.join()
    assert not failed
    assert number_in(fetch(store.url, tmp_path / "copies")) == 11


class Cut(BaseException):
    """The power goes."""


@pytest.mark.parametrize("writes", range(5))
def test_a_publication_that_is_cut_leads_nobody_astray(
    store: PublishedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Before every write of the second publication; repeated, it is there."""
    store.publish(make(tmp_path / "runs", 1), NAMES, "c")
    second, system, done = make(tmp_path / "runs", 2), store._system, []

    def cut(name: str) -> None:
        whole = getattr(system, name)

        def write(*given: Any, **more: Any) -> Any:
            if len(done) == writes:
                raise Cut
            done.append(name)
            return whole(*given, **more)

        monkeypatch.setattr(system, name, write)

    for name in ("put_file", "pipe_file", "mv"):
        cut(name)
    with pytest.raises(Cut):
        store.publish(second, NAMES, "c")
    assert number_in(fetch(store.url, tmp_path / "copies")) == 1
    monkeypatch.undo()
    store.publish(second, NAMES, "c")
    assert number_in(fetch(store.url, tmp_path / "copies")) == 2


@pytest.mark.parametrize("version", ["2.0", "10.3", "0.9", 1, None, "1", "latest"])
def test_a_newer_major_version_is_refused_in_one_line(on_disk: PublishedStore, tmp_path: Path, version: Any) -> None:
    run = make(tmp_path / "runs", 1)
    write_json(run / MANIFEST, {**json.loads((run / MANIFEST).read_text()), "schema_version": version})
    on_disk.publish(run, NAMES, "c")
    for open_it in (lambda: Embeddings.open(run), lambda: fetch(on_disk.url, tmp_path / "copies")):
        with pytest.raises(
            DataError, match=r"manifest.json: schema_version .*; expected 1\.\d+, which is what "
        ) as caught:
            open_it()
        assert "\n" not in str(caught.value)
    assert not list((tmp_path / "copies").iterdir())
    pointer = {"schema_version": version, "config": "c", "run": run.name}
    on_disk._system.pipe_file(f"{on_disk.url}/{POINTER}", json.dumps(pointer).encode())
    with pytest.raises(DataError, match=r"latest.json: (schema_version|expected which run)"):
        fetch(on_disk.url, tmp_path / "copies")


def test_a_newer_minor_version_and_none_are_read(tmp_path: Path) -> None:
    run = make(tmp_path, 1)
    write_json(run / MANIFEST, {"schema_version": "1.99", "more": 1})
    assert number_in(run) == 1
    write_json(run / MANIFEST, {})
    assert number_in(run) == 1
    (run / MANIFEST).unlink()
    assert number_in(run) == 1


@pytest.mark.parametrize("name", ["../../evil", "/etc/cron.d/x", "..", ".hidden", "a/b", "", "a\0b"])
def test_a_hostile_store_writes_nowhere_else(on_disk: PublishedStore, tmp_path: Path, name: str) -> None:
    run = make(tmp_path / "runs", 1)
    on_disk.publish(run, NAMES, "c")
    write_manifest(run, stages={"export": {"outputs": {name: "0" * 64}}})
    on_disk._system.put_file(str(run / MANIFEST), f"{on_disk.url}/{run.name}/{MANIFEST}")
    with pytest.raises(DataError, match="expected names of an export's files"):
        fetch(on_disk.url, tmp_path / "copies")
    pointer = {"schema_version": SCHEMA_VERSION, "config": "c", "run": name}
    on_disk._system.pipe_file(f"{on_disk.url}/{POINTER}", json.dumps(pointer).encode())
    with pytest.raises(DataError, match=r"latest.json: expected which run is published \(run: no name of one\)"):
        fetch(on_disk.url, tmp_path / "copies")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "store") == ["copies", "runs"]
    assert not list((tmp_path / "copies").iterdir())


def test_other_bytes_than_the_manifest_says_are_refused(store: PublishedStore, tmp_path: Path) -> None:
    store.publish(make(tmp_path / "runs", 1), NAMES, "c")
    store._system.pipe_file(f"{store.url}/{store.runs()[0]}/{EXPORT}/{EMBEDDINGS}", b"cut")
    with pytest.raises(DataError, match="its content is not what was published"):
        fetch(store.url, tmp_path / "copies")
    assert not list((tmp_path / "copies").iterdir())


def test_no_bucket_is_made(s3: S3Server, tmp_path: Path) -> None:
    """A name that somebody else may own is a mistake to be told."""
    with pytest.raises(ResourceError, match=r"^s3://nobodys/c: there is no such bucket or file"):
        PublishedStore("s3://nobodys/c").publish(make(tmp_path, 1), NAMES, "c")
    assert [bucket["Name"] for bucket in s3._client.list_buckets()["Buckets"]] == ["bucket"]


def test_a_store_that_cannot_be_reached(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.worlds.s3_server import SECRET, set_environment

    set_environment(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(ResourceError, match=r"^s3://bucket/c: cannot be written \(") as caught:
        PublishedStore("s3://bucket/c").publish(make(tmp_path, 1), NAMES, "c")
    assert "\n" not in str(caught.value) and SECRET not in str(caught.value)
