"""Which files are one source: those of a directory, or those whose names differ in a number or a date alone."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from unicodedata import normalize

from artifacts.errors import DataError
from artifacts.sources.source_files import Files, find_files
from pipeline.proposal.words import plain

SUFFIXES = (".parquet", ".pq", ".csv", ".tsv", ".jsonl", ".ndjson")
_PACKED = ("", ".gz", ".zst")
ENDINGS = tuple(f"{suffix}{packed}" for suffix in SUFFIXES for packed in _PACKED)
_SPLITS = ("train", "valid", "test")
_NUMBERS = re.compile(r"(^|[-_.])(part|chunk|shard|day|hour|date)?[-_.=]?(?P<number>\d[\d\-_.T:]*)$", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """Files that are read as one source: its name, what the files are called without numbers, the paths that a config
    gives, and the split that the name says."""

    name: str
    said: str
    paths: tuple[str, ...]
    files: Files
    split: str | None = None
    group: str | None = None  # the name without its split, shared by the sources of one log


def find_sources(given: Iterable[Path], root: Path) -> list[Found]:
    """The sources below directories and among files. Raises DataError where there is none."""
    named: dict[str, list[Path]] = {}
    for path in given:
        for name, pattern in _patterns(path):
            if pattern not in named.setdefault(name, []):
                named[name].append(pattern)
    names = _names(named)
    found = [_found(names[said], said, paths, root) for said, paths in named.items()]
    if not found:
        raise DataError(f"{', '.join(map(str, given))}: no files that end with {', '.join(SUFFIXES)}")
    return _with_splits(found)


def _names(said: Iterable[str]) -> dict[str, str]:
    """A name for each: what a name cannot hold (`!`) may be all that tells two apart."""
    names: dict[str, str] = {}
    for one in said:
        base = plain(one) or "log"
        tried = (base, *(f"{base}_{number}" for number in range(2, len(names) + 2)))
        names[one] = next(name for name in tried if name not in names.values())
    return names


def _patterns(path: Path) -> Iterator[tuple[str, Path]]:
    """What sources are called, and the files or directories of each."""
    if not path.exists():
        raise DataError(f"{path}: is not there; expected a directory of logs, or files")
    if not path.is_dir():
        if not path.name.lower().endswith(ENDINGS):
            raise DataError(f"{path}: expected a file that ends with {', '.join(SUFFIXES)}, also .gz or .zst")
        yield _name(path), path
        return
    for below in sorted(path.iterdir()):
        if below.name.startswith((".", "_")):
            continue
        if below.is_dir() and _holds_data(below):
            yield _of_directory(path, below)
        elif below.is_file() and below.name.lower().endswith(ENDINGS):
            yield _name(below), below


def _of_directory(parent: Path, path: Path) -> tuple[str, Path]:
    """A directory is one source; `day=2026-01-01` is a part of its parent's, whose pattern makes the key a column."""
    keyed = "=" in path.name
    return normalize("NFC", (parent if keyed else path).resolve().name), parent / "*=*" if keyed else path


def _holds_data(path: Path) -> bool:
    return bool(find_files(path, ["."], ENDINGS).files)


def _before_number(path: Path) -> str:
    """A file's name up to its date or number; without one, up to its suffix."""
    stem = _stem(path)
    number = _NUMBERS.search(stem)
    return stem[: number.start("number")] if number else stem


def _stem(path: Path) -> str:
    return path.name.removesuffix(_ending(path))


def _name(path: Path) -> str:
    stem = _stem(path)
    return normalize("NFC", _NUMBERS.sub("", stem) or path.resolve().parent.name)


def _found(name: str, said: str, paths: list[Path], root: Path) -> Found:
    files = find_files(Path(), map(str, paths), ENDINGS).files
    return Found(name, said, tuple(_written(path, root) for path in _shortest(paths, files)), files)


def _shortest(paths: list[Path], files: Files) -> list[Path]:
    """The first way to write them that names these files and no others, also where no suffix chooses.

    Globs tell upper from lower case, as names do: `a.csv` and `B.CSV` take two.
    """
    ends = sorted({_ending(path) for path in files})
    for tried in _tried(paths, ends):
        if find_files(Path(), map(str, tried)).files == files:
            return tried
    return paths


def _tried(paths: list[Path], ends: list[str]) -> Iterator[list[Path]]:
    if len(paths) == 1:
        if not paths[0].is_file():
            yield [paths[0] / f"*{end}" for end in ends]
        yield paths
        yield [paths[0] / "**" / f"*{end}" for end in ends]
    elif len({path.parent for path in paths}) == 1:
        # None of the number stays, so that later files are read, too: `day-0*` would end with day-09, and say nothing.
        start = os.path.commonprefix([_before_number(path) for path in paths])
        yield [paths[0].parent / f"{start}*{end}" for end in ends]
        yield [paths[0].parent / f"{start}[0-9]*{end}" for end in ends]


def _ending(path: Path) -> str:
    """As it is written, in upper or lower case."""
    return next(path.name[-len(end) :] for end in ENDINGS if path.name.lower().endswith(end))


def _written(path: Path, root: Path) -> str:
    """A path as the config has it: from the root where it lies below it."""
    absolute = Path(os.path.abspath(path))
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else absolute.as_posix()


def _with_splits(found: list[Found]) -> list[Found]:
    """Sources `x_train`, `x_valid` and `x_test` belong together, if there are two of them."""
    ends = {one.name: end for one in found for end in _SPLITS if one.name.endswith(f"_{end}")}
    groups = {
        group: [*names] for group, names in groupby(sorted(ends), lambda name: name.removesuffix(f"_{ends[name]}"))
    }
    joined = {name: group for group, names in groups.items() if len(names) > 1 for name in names}
    return [replace(one, split=ends[one.name], group=joined[one.name]) if one.name in joined else one for one in found]
