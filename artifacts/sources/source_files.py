"""The files that the patterns of a config name, for graph and ranker alike.

A pattern is a path, a directory (all files below it) or a glob (`*`, `?`, `[12]`, `**`), of files or, as a URL, of a
store. A name that exists is read as itself, also when it has one of these characters. Below the part before the first
glob, the pattern's base:

- names that begin with `_` or `.` are no data (Spark's `_temporary`, `.crc`), unless the pattern spells them;
- directories named key=value give their files columns; those of the base itself do not.

A file counts once, however many names lead to it: symlinks, hard links, `a/../a/x`, overlapping patterns.
"""

import os
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from artifacts.errors import ConfigError, DataError
from artifacts.sources.patterns import fits, is_data, is_magic
from artifacts.sources.stores import Stores, is_url

Keys = dict[str, str | None]  # columns that the directories of a file name, as text; None is Hive's name for no value
Files = dict[Path, Keys]

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class FoundFiles(NamedTuple):
    """Files in order of their names, and the patterns that none of them comes from."""

    files: Files
    missing: list[str]


def find_files(
    root: Path, patterns: Iterable[str], suffixes: tuple[str, ...] = ("",), stores: Stores | None = None
) -> FoundFiles:
    """What patterns, relative to `root`, name; `suffixes` choose among the files below a directory.

    Files of `stores` are named by the paths that they have once they are fetched. Raises ConfigError for a URL without
    stores, DataError for a link to nothing, a name that is not UTF-8, what is neither file nor directory, and a file
    whose names give one key two values.
    """
    named: dict[Hashable, Files] = {}
    missing = []
    for pattern in patterns:
        found = 0
        for path, base in _named(root, pattern, suffixes, stores):
            found += 1
            named.setdefault(_identity(path, pattern), {})[path] = _keys(path, base)
        if not found:
            missing.append(pattern)
    return FoundFiles(dict(sorted(map(_one, named.values()))), missing)


def _named(root: Path, pattern: str, suffixes: tuple[str, ...], stores: Stores | None) -> Iterable[tuple[Path, Path]]:
    if not is_url(pattern):
        return _expand(root, pattern, suffixes)
    if stores is None:
        raise ConfigError(f"{pattern}: only transra's commands fetch what a URL names; expected a path")
    return stores.find(pattern, suffixes)


def _identity(path: Path, pattern: str) -> Hashable:
    """What all names of a file have in common; a file of a store has one."""
    if is_url(pattern):
        return path
    status = path.stat()
    return status.st_dev, status.st_ino


def _one(names: Files) -> tuple[Path, Keys]:
    """The one name that a file goes by, the real one if it is among its names, and what all of them say."""
    keys: Keys = {}
    for path, found in sorted(names.items()):
        for key, value in found.items():
            if keys.setdefault(key, value) != value:
                raise DataError(f"{path}: its names say {key}={keys[key]} and {key}={value}; expected one of them")
    return min(names, key=lambda path: (os.path.realpath(path) != str(path), path)), keys


def _keys(path: Path, base: Path) -> Keys:
    keys: Keys = {}
    for part in path.relative_to(base).parts[:-1]:
        key, equals, value = part.partition("=")
        if key and equals:
            named, text = unquote(key), None if value == _NO_VALUE else unquote(value)
            if keys.setdefault(named, text) != text:
                raise DataError(f"{path}: its directories say {named}={keys[named]} and {named}={text}; expected one")
    return keys


def _expand(root: Path, pattern: str, suffixes: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    """The files that a pattern names, each with the base of the pattern."""
    base, parts = root, list(Path(pattern).parts)
    while parts and (not is_magic(parts[0]) or os.path.lexists(base / parts[0])):
        base /= parts.pop(0)
    if not os.path.lexists(base):
        return
    if parts:
        for match in _matches(base, parts):
            yield from ((path, base) for path in _below(match, suffixes))
    else:
        yield from ((path, base if base.is_dir() else base.parent) for path in _below(base, suffixes))


def _matches(directory: Path, parts: list[str]) -> Iterator[Path]:
    """Files and directories below one that match the rest of a pattern."""
    if not parts:
        yield directory
    elif parts[0] == "**":
        if len(parts) == 1:
            yield directory
        else:
            for below in _directories(directory):
                yield from _matches(below, parts[1:])
    elif is_magic(parts[0]):
        for path in _listed(directory):
            if fits(path.name, parts[0]):
                yield from _matches(path, parts[1:])
    elif os.path.lexists(directory / parts[0]):
        yield from _matches(directory / parts[0], parts[1:])


def _directories(directory: Path) -> Iterator[Path]:
    """A directory and those of data below it, without links back to one that they lie in."""
    if os.path.realpath(directory) in map(os.path.realpath, directory.parents):
        return
    yield directory
    for path in _listed(directory):
        if is_data(path.name) and path.is_dir():
            yield from _directories(path)


def _below(path: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """The file itself, or every file of data below a directory."""
    if not path.is_dir():
        yield _file(path)
        return
    for directory in _directories(path):
        for entry in _listed(directory):
            if is_data(entry.name) and not entry.is_dir() and entry.name.lower().endswith(suffixes):
                yield _file(entry)


def _listed(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        raise DataError(f"{directory}: cannot be read ({error.strerror})") from error


def _file(path: Path) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{str(path)!a}: the name of the file is not UTF-8; rename it") from error
    if not path.exists():
        raise DataError(f"{path}: a link to nothing; expected a file")
    if not path.is_file():
        raise DataError(f"{path}: expected a file or a directory")
    return path
