"""A store that readers elsewhere take published vectors from: any file system that fsspec knows.

    <url>/<run>/export/...  manifest.json  metrics.json
    <url>/latest.json       {"schema_version": ..., "config": ..., "run": <run>}

What is below a run's name is there whole before `latest.json` names it, and does not change afterwards. `latest.json`
is replaced in one step: a PUT or copy of an object store, a rename of a disk.

    run = fetch("s3://bucket/vectors/demo", Path("copies"))
    export = Embeddings.open(run)
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel

from artifacts.errors import DataError, ResourceError, TransraError
from artifacts.files.intact import require_intact
from artifacts.files.json_file import parse_json, read_json
from artifacts.files.publish import sync, sync_files
from artifacts.formats.reader_schema import SCHEMA_VERSION, require_known
from artifacts.formats.run import EXPORT, MANIFEST
from artifacts.sources.file_systems import asking, file_system, info_of

POINTER = "latest.json"
_NAME = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]{0,254}")  # of a run, and of what lies in an export
_WHAT = "which run is published"


class Pointer(BaseModel, extra="allow"):
    """What latest.json says: the published run, and of which config it is."""

    schema_version: str
    config: str
    run: str


class Manifest(BaseModel, extra="allow"):
    """What a reader needs of manifest.json: SHA-256 of the export's files, by name."""

    class Stage(BaseModel, extra="allow"):
        outputs: dict[str, str]

    stages: Mapping[str, Stage]


class PublishedStore:
    """The runs at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def _url(self, *names: str) -> str:
        return "/".join((self.url, *names))

    @property
    def _system(self) -> Any:
        return file_system(self.url.partition("://")[0])

    def latest(self, fails: type[TransraError] = DataError) -> Pointer | None:
        """What readers are led to; None where nothing is published. Raises DataError for what is no pointer, `fails`
        where the store cannot be asked."""
        url = self._url(POINTER)
        with asking(url, fails):
            try:
                text = self._system.cat_file(url)  # in one request: another that asked first would find another file
            except FileNotFoundError as error:
                if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
                    raise error.__cause__ from None  # fsspec says so of a web server that does not answer, too
                return None
        try:
            pointer = parse_json(text, Pointer)
        except ValueError as error:
            raise DataError(f"{url}: expected {_WHAT} ({error})") from error
        require_known(pointer.schema_version, url)
        if not _NAME.fullmatch(pointer.run):
            raise DataError(f"{url}: expected {_WHAT} (run: no name of one)")
        return pointer

    def publish(self, run: Path, names: Iterable[str], config: str) -> None:
        """Copies files of a run, by their paths in it, and leads readers there once all are.

        Raises ResourceError where the store cannot be written.
        """
        with asking(self.url, ResourceError, "written"):
            from fsspec.implementations.local import LocalFileSystem

            system = self._system
            for name in names:
                url = self._url(run.name, name)
                if isinstance(system, LocalFileSystem):  # of an object store this would make a bucket
                    system.makedirs(url.rpartition("/")[0], exist_ok=True)
                system.put_file(str(run / name), url)
            pointer = Pointer(schema_version=SCHEMA_VERSION, config=config, run=run.name).model_dump()
            aside = self._url(f"{POINTER}.partial")
            system.pipe_file(aside, f"{json.dumps(pointer)}\n".encode())
            system.mv(aside, self._url(POINTER))

    def runs(self) -> list[str]:
        """Names of what lies beside the pointer. Raises ResourceError where the store cannot be asked."""
        with asking(self.url, ResourceError, "listed"):
            system = self._system
            found = system.ls(self.url, detail=True) if info_of(system, self.url) else []
            return sorted(Path(one["name"]).name for one in found if one["type"] == "directory")

    def remove(self, run: str) -> None:
        """Removes a run. Raises ResourceError where the store cannot be written."""
        with asking(self.url, ResourceError, "written"):
            self._system.rm(self._url(run), recursive=True)

    def copy(self, run: str, directory: Path) -> None:
        """Copies a run's manifest and export into an empty directory.

        Raises DataError where one is gone, or is not what the manifest says.
        """
        self._copy(run, MANIFEST, directory)
        manifest = read_json(directory / MANIFEST, Manifest, "a run's manifest").model_dump()
        require_known(manifest.get("schema_version", SCHEMA_VERSION), self._url(run, MANIFEST))
        outputs = manifest["stages"].get("export", {"outputs": {}})["outputs"]
        if not outputs or not all(map(_NAME.fullmatch, outputs)):
            raise DataError(f"{self._url(run, MANIFEST)}: expected names of an export's files")
        (directory / EXPORT).mkdir()
        for name in outputs:
            self._copy(run, f"{EXPORT}/{name}", directory)
        require_intact(directory / EXPORT, outputs, ("",), "publish the run anew")

    def _copy(self, run: str, name: str, directory: Path) -> None:
        url = self._url(run, name)
        with asking(url):
            self._system.get_file(url, str(directory / name))


def fetch(url: str, directory: Path) -> Path:
    """Copies the published run of a store below `directory`, unless it is there, and returns the copy, whole.

    Where the run goes meanwhile, since another was published, that one is copied. Raises DataError where nothing is
    published, and for a store of a newer major version or with other bytes than its manifest says.
    """
    store = PublishedStore(url)
    while True:
        pointer = store.latest()
        if pointer is None:
            raise DataError(f"{url}: nothing is published there")
        try:
            return _copied(store, pointer.run, directory)
        except DataError:
            if store.latest() == pointer:
                raise


def _copied(store: PublishedStore, run: str, directory: Path) -> Path:
    copy = directory / run
    if copy.is_dir():
        return copy
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f".{run}.{uuid4().hex}.partial"  # another reader may copy, too
    partial.mkdir()
    try:
        store.copy(run, partial)
        sync_files(partial)
        os.rename(partial, copy)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and copy.is_dir():  # another reader was first
            return copy
        raise
    sync(directory)
    return copy
