"""The files of the entity map: ids, counts and, for PBG's export, names."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.expressions.engine import translated
from artifacts.formats.graph import ids_path, labels_path
from partitioning.entities.entity_map import EntityMap

_ROW_GROUP = 1 << 20
_SCHEMA, _LABELS = pa.schema([("id", pa.string())]), pa.schema([("label", pa.string())])
_TEXT = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}  # every id occurs once
_PARQUET = {**_TEXT, "column_encoding": {"id": "DELTA_LENGTH_BYTE_ARRAY"}}  # lengths apart: smaller and faster


def count_path(directory: Path, type: str, part: int) -> Path:
    """Where PBG finds the number of entities of a partition."""
    return directory / f"entity_count_{type}_{part}.txt"


class _Ids:
    """A stream of ids, or of labels, from which any number can be taken."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held: pa.StringArray = pa.nulls(0, pa.string())  # pa.array would import pandas

    def take(self, count: int) -> pa.StringArray:
        pieces = [self._held]
        while (missing := count - sum(map(len, pieces))) > 0:
            pieces.append(next(self._batches).column(0))
        last = pieces.pop()
        self._held = last[len(last) + missing :] if missing else last[len(last) :]
        return pa.concat_arrays([*pieces, last[: len(last) + missing]])


def write_ids(entities: EntityMap, batches: Iterator[pa.RecordBatch], directory: Path) -> None:
    """Writes the ids, which come by partition and offset, and the count of every partition of a type."""
    ids = _Ids(batches)
    ids_path(directory, entities.type, 0).parent.mkdir(parents=True)
    for part, count in enumerate(entities.counts):
        _write_partition(directory, entities.type, part, count, ids)


def write_partition(directory: Path, type: str, part: int, count: int, batches: Iterator[pa.RecordBatch]) -> None:
    """Writes what `write_ids` would of one partition, given its `count` ids alone."""
    ids_path(directory, type, part).parent.mkdir(parents=True, exist_ok=True)
    _write_partition(directory, type, part, count, _Ids(batches))


def write_labels(entities: EntityMap, batches: Iterator[pa.RecordBatch], directory: Path) -> None:
    """Writes the labels, which come by partition and offset as the ids do, of every partition of a type."""
    labels = _Ids(batches)
    labels_path(directory, entities.type, 0).parent.mkdir(parents=True)
    for part, count in enumerate(entities.counts):
        with translated(), pq.ParquetWriter(labels_path(directory, entities.type, part), _LABELS, **_TEXT) as file:
            _write_column(file, _LABELS, count, labels)


def append_ids(
    entities: EntityMap, batches: Iterator[pa.RecordBatch], previous: Path, directory: Path, threads: int
) -> None:
    """Writes what `write_ids` would, given the new ids alone: they follow those of the graph in `previous`."""
    ids, type = _Ids(batches), entities.type
    new = [ids.take(count - before) for count, before in zip(entities.counts, entities.previous, strict=True)]
    ids_path(directory, type, 0).parent.mkdir(parents=True)

    def write(part: int) -> None:
        with pq.ParquetFile(ids_path(previous, type, part)) as file:
            added = pa.record_batch([new[part]], schema=_SCHEMA)
            stream = _Ids(chain(file.iter_batches(_ROW_GROUP), [added]))
            _write_partition(directory, type, part, entities.counts[part], stream)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(len(new))))


def _write_partition(directory: Path, type: str, part: int, count: int, ids: _Ids) -> None:
    with translated():
        count_path(directory, type, part).write_text(f"{count}\n")
        with pq.ParquetWriter(ids_path(directory, type, part), _SCHEMA, **_PARQUET) as file:
            _write_column(file, _SCHEMA, count, ids)


def _write_column(file: pq.ParquetWriter, schema: pa.Schema, count: int, texts: _Ids) -> None:
    for start in range(0, count, _ROW_GROUP):
        group = texts.take(min(_ROW_GROUP, count - start))
        file.write_batch(pa.record_batch([group], schema=schema), row_group_size=_ROW_GROUP)


def keep_ids(directory: Path, type: str, keep: list[NDArray[np.bool_]]) -> None:
    """Removes ids from the files that `write_ids` wrote: `keep` says for each partition which offsets stay."""
    for part, stay in enumerate(keep):
        count_path(directory, type, part).write_text(f"{np.count_nonzero(stay)}\n")
        path = ids_path(directory, type, part)
        aside = path.with_suffix(".partial")
        with pq.ParquetFile(path) as file, translated(), pq.ParquetWriter(aside, _SCHEMA, **_PARQUET) as kept:
            start = 0
            for batch in file.iter_batches(_ROW_GROUP):
                bits = pa.py_buffer(np.packbits(stay[start : start + len(batch)], bitorder="little"))
                mask = pa.Array.from_buffers(pa.bool_(), len(batch), [None, bits])  # pa.array would import pandas
                kept.write_batch(batch.filter(mask), row_group_size=_ROW_GROUP)
                start += len(batch)
        aside.replace(path)


def write_names(directory: Path, entities: Iterable[EntityMap], threads: int) -> None:
    """Writes PBG's entity_names files, streaming the ids that `write_ids` wrote."""

    def write(partition: tuple[str, int]) -> None:
        type, part = partition
        with (directory / f"entity_names_{type}_{part}.json").open("wb") as file, translated():
            file.write(b"[")
            comma = 1  # bytes: the first name follows none
            for batch in pq.ParquetFile(ids_path(directory, type, part)).iter_batches():
                file.write(_names(batch.column(0))[comma:])
                comma = 0
            file.write(b"]\n")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, [(map.type, part) for map in entities for part in range(len(map.counts))]))


def _names(ids: pa.StringArray) -> memoryview:
    """Ids as JSON strings, each after a comma and a line break; by Arrow where no character is to be escaped."""
    ids = ids.cast(pa.large_string())
    if not _plain(ids):
        return memoryview((",\n" + json.dumps(ids.to_pylist(), separators=(",\n", ":"))[1:-1]).encode())
    before, after, between = _text([',\n"', '"', ""])
    quoted = pc.binary_join_element_wise(before, ids, after, between)
    return memoryview(quoted.buffers()[2])[: _bounds(quoted).stop]


def _text(values: list[str]) -> pa.LargeStringArray:
    """Plain strings as Arrow's; pa.array and pa.scalar would import pandas."""
    ends = np.cumsum([0, *map(len, values)])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer("".join(values).encode())]
    return pa.Array.from_buffers(pa.large_string(), len(values), buffers)


def _plain(ids: pa.LargeStringArray) -> bool:
    """Whether all characters are printable ASCII and stand for themselves in JSON."""
    text = np.frombuffer(ids.buffers()[2], np.uint8)[_bounds(ids)]
    return not ((text < ord(" ")) | (text > ord("~")) | (text == ord('"')) | (text == ord("\\"))).any()


def _bounds(ids: pa.LargeStringArray) -> slice:
    """Where the text of the ids lies in their buffer of text."""
    offsets = np.frombuffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1]
    return slice(int(offsets[0]), int(offsets[-1]))
