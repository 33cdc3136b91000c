"""Writes an export: type by type, relation by relation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.embeddings.format import (
    ABSENT,
    FORMAT,
    FORMAT_VERSION,
    JSON_ATTRIBUTES,
    RELATION_ATTRIBUTES,
    ROOT_ATTRIBUTES,
    Array,
    ExportedRelation,
    hash_ids,
)
from artifacts.hdf5 import NewFile

ALIGNMENT = 64  # bytes; a mapped array that starts elsewhere is slower to read
HASH_BLOCK = 1 << 20  # rows of the sorted hashes written at a time


class TypeWriter:
    """Appends the entities of one type in row order.

    Vectors and ids pass through; what stays in memory until `finish` is the hash of every id: 8 bytes per entity, and
    16 while they are sorted.
    """

    def __init__(self, new: NewFile, name: str, count: int, id_bytes: int, dtype: str, degrees: Sequence[str]) -> None:
        self._check = new.check
        group, dimension = new.file["entities"].create_group(name), int(new.file.attrs["dimension"])
        ids = group.create_group("ids")
        self._vectors = group.create_dataset("vectors", (count, dimension), dtype)
        self._degrees = group.create_dataset("degrees", (count, len(degrees)), np.int32) if degrees else None
        if self._degrees is not None:
            self._degrees.attrs["names"] = json.dumps(list(degrees))
        self._trained = group.create_dataset("trained", (count,), np.uint8)
        self._bytes = ids.create_dataset("bytes", (id_bytes,), np.uint8)
        self._offsets = ids.create_dataset("offsets", (count + 1,), np.int64)
        self._hash_sorted = ids.create_dataset("hash_sorted", (count,), np.uint64)
        self._hash_rows = ids.create_dataset("hash_rows", (count,), np.int64)
        self._hashes = np.empty(count, np.uint64)
        self._rows = self._length = 0
        self._offsets[0] = 0

    def append(self, ids: pa.Array, vectors: Array, degrees: Array | None = None, trained: Array | None = None) -> None:
        """Writes the next entities: `vectors` (B, D) and `degrees` (B, K), in the order of the B `ids`.

        `trained` (B,) bool: whose vectors mean something, None for all; the others are written as zeros. Raises OSError
        when the disk is full.
        """
        rows = slice(self._rows, self._rows + len(ids))
        lengths = pc.binary_length(ids).to_numpy(zero_copy_only=False).astype(np.int64)
        data = b"".join(ids.cast(pa.large_binary()).to_pylist())
        kept = np.ones(len(ids), bool) if trained is None else trained
        self._vectors[rows] = np.where(kept[:, None], vectors, np.zeros((), vectors.dtype))
        self._trained[rows] = kept
        if self._degrees is not None:
            self._degrees[rows] = degrees
        self._offsets[rows.start + 1 : rows.stop + 1] = self._length + np.cumsum(lengths)
        self._bytes[self._length : self._length + len(data)] = np.frombuffer(data, np.uint8)
        self._hashes[rows] = hash_ids(ids)
        self._rows, self._length = rows.stop, self._length + len(data)
        self._check()

    def finish(self) -> None:
        """Writes the hash index. Raises ValueError unless exactly the announced entities were appended."""
        if (self._rows, self._length) != (len(self._hashes), len(self._bytes)):
            raise ValueError(f"{self._rows} of {len(self._hashes)} entities were written")
        order = np.argsort(self._hashes)
        self._hash_rows[:] = order
        for start in range(0, len(order), HASH_BLOCK):
            self._hash_sorted[start : start + HASH_BLOCK] = self._hashes[order[start : start + HASH_BLOCK]]


class EmbeddingsWriter:
    """Writes one export, type by type and relation by relation. A context manager; what fails leaves no file."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._new = NewFile(path, alignment_threshold=1, alignment_interval=ALIGNMENT)
        self._file = self._new.file
        self._file.attrs.update({"format": FORMAT, "format_version": FORMAT_VERSION})
        for name in ROOT_ATTRIBUTES:
            value = {**ABSENT, **attributes}[name]
            self._file.attrs[name] = json.dumps(value, allow_nan=False) if name in JSON_ATTRIBUTES else value
        self._file.create_group("entities")
        self._file.create_group("relations", track_order=True)  # or 10 would come before 2

    def __enter__(self) -> "EmbeddingsWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._new.close(keep=kind is None)

    def entities(self, name: str, count: int, id_bytes: int, dtype: str, degrees: Sequence[str] = ()) -> TypeWriter:
        """Opens a type of `count` entities whose ids have `id_bytes` bytes of UTF-8 altogether.

        `degrees` names the columns of their degrees, if any are written.
        """
        return TypeWriter(self._new, name, count, id_bytes, dtype, degrees)

    def relation(self, index: int, relation: ExportedRelation) -> None:
        group = self._file["relations"].create_group(str(index))
        for attribute in RELATION_ATTRIBUTES:
            group.attrs[attribute] = getattr(relation, attribute)
        for name, values in relation.parameters.items():
            group.create_dataset(name, data=values)
