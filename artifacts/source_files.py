"""The files that the patterns of a config name, for graph and ranker alike.

A pattern is a path, a directory (all files below it) or a glob (`*`, `?`, `[12]`, `**`). A name that exists is read as
itself, also when it has one of these characters. Below the part before the first glob, the pattern's base:

- names that begin with `_` or `.` are no data (Spark's `_temporary`, `.crc`), unless the pattern spells them;
- directories named key=value give their files columns; those of the base itself do not.

A file counts once, however many names lead to it: symlinks, hard links, `a/../a/x`, overlapping patterns.
"""

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from artifacts.errors import DataError

Keys = dict[str, str | None]  # columns that the directories of a file name, as text; None is Hive's name for no value
Files = dict[Path, Keys]

MAGIC = "*?["
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class FoundFiles(NamedTuple):
    """Files in order of their names, and the patterns that none of them comes from."""

    files: Files
    missing: list[str]


def find_files(root: Path, patterns: Iterable[str], suffixes: tuple[str, ...] = ("",)) -> FoundFiles:
    """What patterns, relative to `root`, name; `suffixes` choose among the files below a directory.

    Raises DataError for a link to nothing, a name that is not UTF-8, what is neither file nor directory, and a file
    whose names give one key two values.
    """
    named: dict[tuple[int, int], Files] = {}
    missing = []
    for pattern in patterns:
        found = 0
        for path, base in _expand(root, pattern, suffixes):
            found += 1
            status = path.stat()
            named.setdefault((status.st_dev, status.st_ino), {})[path] = _keys(path, base)
        if not found:
            missing.append(pattern)
    return FoundFiles(dict(sorted(map(_one, named.values()))), missing)


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
    while parts and (not any(c in parts[0] for c in MAGIC) or os.path.lexists(base / parts[0])):
        base /= parts.pop(0)
    if parts:
        for match in _matches(base, parts):
            yield from ((path, base) for path in _below(match, suffixes))
    elif os.path.lexists(base):
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
    elif any(c in parts[0] for c in MAGIC):
        for path in _listed(directory):
            if fnmatchcase(path.name, parts[0]) and _is_data(path.name, parts[0]):
                yield from _matches(path, parts[1:])
    elif os.path.lexists(directory / parts[0]):
        yield from _matches(directory / parts[0], parts[1:])


def _is_data(name: str, pattern: str = "") -> bool:
    return name[0] not in "._" or pattern[:1] == name[0]


def _directories(directory: Path) -> Iterator[Path]:
    """A directory and those of data below it, without links back to one that they lie in."""
    if os.path.realpath(directory) in map(os.path.realpath, directory.parents):
        return
    yield directory
    for path in _listed(directory):
        if _is_data(path.name) and path.is_dir():
            yield from _directories(path)


def _below(path: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """The file itself, or every file of data below a directory."""
    if not path.is_dir():
        yield _file(path)
        return
    for directory in _directories(path):
        for entry in _listed(directory):
            if _is_data(entry.name) and not entry.is_dir() and entry.name.lower().endswith(suffixes):
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
