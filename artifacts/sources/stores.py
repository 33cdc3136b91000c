"""Files of object stores and web servers, named by URLs: listed by fsspec, copied before they are read.

`s3://bucket/logs/*.parquet`, `gs://`, `https://`, `memory://`: patterns mean what they mean of files, except that a web
server lists none. A file is told from its later self by size and by the ETag or time that its store gives. A copy lies
at the place that its URL says, below one directory, which goes when the command ends. Credentials come from the
environment, as each store's library finds them.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from artifacts.errors import DataError
from artifacts.machine.resources import require_disk
from artifacts.sources.file_systems import asking, file_system, info_of
from artifacts.sources.patterns import is_magic, names_file

_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_WEB = ("http", "https")
_LONGEST = 240  # bytes of a name that a copy can have, with what it is called until it is whole
_BLOCK = 4 << 20  # of each of them in memory
_AT_ONCE = 4  # files copied at a time
# What a store says that changes with the content, the surest first.
_VERSIONS = ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified", "updated", "created",
             "Last-Modified")  # fmt: skip


class StoredFile(NamedTuple):
    """A file of a store as it was listed."""

    url: str
    bytes: int
    version: str


def is_url(pattern: str) -> bool:
    return bool(_URL.match(pattern))


def url_problem(pattern: str) -> str | None:
    """What is wrong with a pattern that is a URL, in words that do not repeat it; None where nothing is."""
    if not is_url(pattern):
        return None
    try:
        parts = urlsplit(pattern)
    except ValueError:
        return "no URL; expected one such as s3://bucket/name or https://host/name"
    if "@" in parts.netloc:
        return "a URL with a user or a password; expected none, since credentials come from the environment"
    if parts.scheme in _WEB and (parts.query or parts.fragment or is_magic(pattern)):
        return "a web server lists no files; expected the address of one, without ? or #"
    return None


class Stores:
    """What URLs name, by the paths at which copies lie once they are fetched; used as a context, the copies go with it.

    `directory` is a command's own while it fetches.
    """

    def __init__(self, directory: Path) -> None:
        self._directory, self.may_fetch = directory, False
        self._stored: dict[Path, StoredFile] = {}
        self._fetched: set[Path] = set()
        self._found: dict[tuple[str, tuple[str, ...]], list[tuple[Path, Path]]] = {}

    def __enter__(self) -> "Stores":
        self._remove()  # what a command that was killed has left
        self.may_fetch = True
        return self

    def __exit__(self, *error: object) -> None:
        self._remove()

    def _remove(self) -> None:
        self._fetched.clear()
        if self._directory.exists():
            shutil.rmtree(self._directory)

    def find(self, pattern: str, suffixes: tuple[str, ...]) -> list[tuple[Path, Path]]:
        """The files that a URL names, each with the base of the pattern. A store is asked once: a command reads what
        it has compared.

        Raises ConfigError where a package is missing, DataError for a store that cannot be asked.
        """
        if (pattern, suffixes) not in self._found:
            self._found[pattern, suffixes] = list(self._find(pattern, suffixes))
        return self._found[pattern, suffixes]

    def _find(self, pattern: str, suffixes: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
        scheme, _, rest = pattern.partition("://")
        parts = [part for part in rest.split("/") if part]
        with asking(pattern):
            system, fixed = file_system(scheme), 0
            while fixed < len(parts) and _is_itself(system, scheme, parts[: fixed + 1]):
                fixed += 1
            base = _url(scheme, parts[:fixed])
            found = info_of(system, base)
            listed = _listed(system, base) if found and found["type"] == "directory" and scheme not in _WEB else []
        if found and found["type"] == "file" and names_file([], parts[fixed:], suffixes):
            yield self._add(scheme, parts[:fixed], found), self._path(scheme, parts[: fixed - 1])
        for names, info in listed:
            if names_file(names, parts[fixed:], suffixes):
                yield self._add(scheme, [*parts[:fixed], *names], info), self._path(scheme, parts[:fixed])

    def _add(self, scheme: str, names: list[str], info: dict[str, Any]) -> Path:
        url = _url(scheme, names)
        if any(name in ("", ".", "..") or len(name.encode()) > _LONGEST for name in names):
            raise DataError(f"{url}: no copy can have this name; rename it")
        path = self._path(scheme, names)
        self._stored[path] = _described(url, info)
        return path

    def _path(self, scheme: str, parts: list[str]) -> Path:
        return self._directory.joinpath(scheme, *parts)

    def state(self, path: Path) -> dict[str, Any] | None:
        """What tells a file of a store from another, as JSON; None for a path that is none."""
        stored = self._stored.get(path)
        return {"path": stored.url, "bytes": stored.bytes, "version": stored.version} if stored else None

    def unfetched(self, paths: Iterable[Path]) -> int | None:
        """Bytes of the files of stores that are not there yet; None where all are."""
        missing = self._missing(paths)
        return sum(self._stored[path].bytes for path in missing) if missing else None

    def _missing(self, paths: Iterable[Path]) -> list[Path]:
        return [path for path in paths if path in self._stored and path not in self._fetched]

    def fetch(self, paths: Iterable[Path]) -> None:
        """Copies those files of stores that are not there yet.

        Raises ResourceError where the disk is too small, DataError for a file that is gone, changes or cannot be read.
        """
        wanted = self._missing(paths)
        if not wanted:
            return
        assert self.may_fetch, "only who holds the directory may write there"
        self._directory.mkdir(parents=True, exist_ok=True)
        require_disk(self._directory, self.unfetched(wanted) or 0, "a copy of what URLs name")
        stopped = Event()
        with ThreadPoolExecutor(_AT_ONCE) as copying:
            try:
                for path in copying.map(lambda path: self._copy(path, stopped), wanted):
                    self._fetched.add(path)
            except BaseException:
                stopped.set()  # or the pool would wait for what is being copied
                raise

    def _copy(self, path: Path, stopped: Event) -> Path:
        stored = self._stored[path]
        partial = path.with_name(f"{path.name}.partial")
        with asking(stored.url):
            path.parent.mkdir(parents=True, exist_ok=True)
            system = file_system(stored.url.partition("://")[0])
            with system.open(stored.url, "rb", block_size=_BLOCK) as source, partial.open("wb") as copy:
                while block := source.read(_BLOCK):
                    if stopped.is_set():
                        raise DataError(f"{stored.url}: not copied to its end")
                    copy.write(block)
            now = info_of(system, stored.url)
        if now is None or _described(stored.url, now) != stored or partial.stat().st_size != stored.bytes:
            raise DataError(f"{stored.url}: changed while it was read; run again when what writes it has finished")
        # Who asks for a copy's time is told the version.
        moment = int.from_bytes(sha256(stored.version.encode()).digest()[:7], "big")
        os.utime(partial, ns=(moment, moment))
        partial.rename(path)
        return path


def _url(scheme: str, names: list[str]) -> str:
    return f"{scheme}://{'/'.join(names)}"


def _is_itself(system: Any, scheme: str, parts: list[str]) -> bool:
    """Whether the last part of a pattern's beginning is a name, and no glob."""
    return not is_magic(parts[-1]) or info_of(system, _url(scheme, parts)) is not None


def _listed(system: Any, base: str) -> list[tuple[list[str], dict[str, Any]]]:
    """All files below a directory of a store, in order: the names on the way to each, and what is known of it."""
    start = system._strip_protocol(base).rstrip("/")
    found = sorted(system.find(base, detail=True).items())
    return [
        (name.removeprefix(start).removeprefix("/").split("/"), info)
        for name, info in found
        if not name.endswith("/")  # a key that stands for a directory
    ]


def _described(url: str, info: dict[str, Any]) -> StoredFile:
    version = next((info[key] for key in _VERSIONS if info.get(key)), None)
    if version is None or info.get("size") is None:
        raise DataError(f"{url}: its server says no size, or neither ETag nor time; copy it, and name the copy")
    if isinstance(version, datetime):
        version = version.timestamp()
    return StoredFile(url, int(info["size"]), str(version).strip('"'))
