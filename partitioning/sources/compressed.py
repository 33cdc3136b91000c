"""Compressed text is read through once before it is used.

DuckDB takes a gzip file of a wrong checksum and a zstd file without its end for whole, and what a file unpacks to (a
thousand times its size, at worst) decides what a build needs.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from artifacts.errors import DataError
from artifacts.machine.exhausted import first_line
from artifacts.sources.inputs import FileState

_CODECS = {".gz": "gzip", ".zst": "zstd"}
_BLOCK = START_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAGIC = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}


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


def has_mark(path: Path) -> bool:
    """Whether a text begins with UTF-8's byte order mark, as editors of Windows write it."""
    return _start(path, len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK


def start_of_text(path: Path) -> bytes:
    """The first START_BYTES of a text, unpacked. Raises DataError for what cannot be UTF-8 text."""
    start = _start(path, START_BYTES)
    for magic, suffix in _MAGIC.items():
        if start.startswith(magic):
            raise DataError(f"{path}: is compressed; expected text, or a name that ends with {suffix}")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start[:4]:
        raise DataError(f"{path}: is UTF-16 or UTF-32; expected UTF-8 text")
    return start


def _start(path: Path, size: int) -> bytes:
    try:
        with pa.input_stream(str(path), compression="detect") as file:
            start: bytes = file.read(size)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)})") from error
    return start
