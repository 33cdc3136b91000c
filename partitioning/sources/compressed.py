"""Compressed text is read through once before it is used.

DuckDB takes a gzip file of a wrong checksum and a zstd file without its end for whole, and what a file unpacks to (a
thousand times its size, at worst) decides what a build needs.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from artifacts.errors import DataError
from artifacts.exhausted import first_line
from artifacts.inputs import FileState

_CODECS = {".gz": "gzip", ".zst": "zstd"}
_BLOCK = 1 << 20


class Plain(NamedTuple):
    """What a compressed text unpacks to."""

    bytes: int
    lines: int


def plain(path: Path) -> Plain:
    """Unpacks a file, once per process. Raises DataError when it is cut, damaged, or not compressed at all."""
    return _plain(path, FileState.of(path))


@cache
def _plain(path: Path, state: FileState) -> Plain:
    size = lines = 0
    codec = _CODECS[path.suffix.lower()]
    try:
        with pa.input_stream(str(path), compression=codec) as file:
            while block := file.read(_BLOCK):
                size += len(block)
                lines += block.count(b"\n")
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be unpacked as {codec} ({first_line(error)}); copy it again") from error
    return Plain(size, lines)
