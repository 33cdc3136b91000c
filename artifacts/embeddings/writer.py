"""Writes an export: type by type, relation by relation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
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
from artifacts.files.hdf5 import NewFile

ALIGNMENT = 64  # bytes; a mapped array that starts elsewhere is slower to read
HASH_BLOCK = 1 << 20  # rows of the sorted hashes written at a time


class TypeWriter:
    """Appends the entities of one type in row order.

    Vectors and ids pass through; what stays in memory until `finish` is the hash of every id: 8 bytes per entity, and
    16 while they are sorted.
    """

    def __init__(
        self,
        new: NewFile,
        name: str,
        count: int,
        id_bytes: int,
        dtype: str,
        degrees: Sequence[str],
        label_bytes: int | None,
    ) -> None:
        self._check = new.check
        group, dimension = new.file["entities"].create_group(name), int(new.file.attrs["dimension"])
        ids = group.create_group("ids")
        self._vectors = group.create_dataset("vectors", (count, dimension), dtype)
        self._degrees = group.create_dataset("degrees", (count, len(degrees)), np.int32) if degrees else None
        if self._degrees is not None:
            self._degrees.attrs["names"] = json.dumps(list(degrees))
        self._trained = group.create_dataset("trained", (count,), np.uint8)
        self._ids = _Texts(ids, count, id_bytes)
        self._labels = None if label_bytes is None else _Texts(group.create_group("labels"), count, label_bytes)
        self._hash_sorted = ids.create_dataset("hash_sorted", (count,), np.uint64)
        self._hash_rows = ids.create_dataset("hash_rows", (count,), np.int64)
        self._hashes = np.empty(count, np.uint64)
        self._rows = 0

    def append(
        self,
        ids: pa.Array,
        vectors: Array,
        degrees: Array | None = None,
        trained: Array | None = None,
        labels: pa.Array | None = None,
    ) -> None:
        """Writes the next entities: `vectors` (B, D), `degrees` (B, K) and B `labels`, in the order of the B `ids`.

        `trained` (B,) bool: whose vectors say what training told, None for all. Raises OSError when the disk is full.
        """
        rows = slice(self._rows, self._rows + len(ids))
        self._vectors[rows] = vectors
        self._trained[rows] = np.ones(len(ids), bool) if trained is None else trained
        if self._degrees is not None:
            self._degrees[rows] = degrees
        self._ids.append(ids)
        if self._labels is not None:
            self._labels.append(labels)
        self._hashes[rows] = hash_ids(ids)
        self._rows = rows.stop
        self._check()

    def finish(self) -> None:
        """Writes the hash index. Raises ValueError unless exactly the announced entities were appended."""
        texts = [one for one in (self._ids, self._labels) if one is not None]
        if self._rows != len(self._hashes) or not all(one.is_whole for one in texts):
            raise ValueError(f"{self._rows} of {len(self._hashes)} entities were written")
        order = np.argsort(self._hashes)
        self._hash_rows[:] = order
        for start in range(0, len(order), HASH_BLOCK):
            self._hash_sorted[start : start + HASH_BLOCK] = self._hashes[order[start : start + HASH_BLOCK]]


class _Texts:
    """`count` texts in two arrays: their UTF-8, `size` bytes, and where each begins. A null is no bytes."""

    def __init__(self, group: h5py.Group, count: int, size: int) -> None:
        self._bytes = group.create_dataset("bytes", (size,), np.uint8)
        self._offsets = group.create_dataset("offsets", (count + 1,), np.int64)
        self._rows = self._length = 0
        self._offsets[0] = 0

    @property
    def is_whole(self) -> bool:
        return (self._rows + 1, self._length) == (len(self._offsets), len(self._bytes))

    def append(self, texts: pa.Array) -> None:
        lengths = pc.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        data = b"".join(one or b"" for one in texts.cast(pa.large_binary()).to_pylist())
        self._offsets[self._rows + 1 : self._rows + 1 + len(texts)] = self._length + np.cumsum(lengths)
        self._bytes[self._length : self._length + len(data)] = np.frombuffer(data, np.uint8)
        self._rows, self._length = self._rows + len(texts), self._length + len(data)


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

    def entities(
        self,
        name: str,
        count: int,
        id_bytes: int,
        dtype: str,
        degrees: Sequence[str] = (),
        label_bytes: int | None = None,
    ) -> TypeWriter:
        """Opens a type of `count` entities whose ids have `id_bytes` bytes of UTF-8 altogether, and whose labels have
        `label_bytes`, if any are written.

        `degrees` names the columns of their degrees, if any are written.
        """
        return TypeWriter(self._new, name, count, id_bytes, dtype, degrees, label_bytes)

    def relation(self, index: int, relation: ExportedRelation) -> None:
        group = self._file["relations"].create_group(str(index))
        for attribute in RELATION_ATTRIBUTES:
            group.attrs[attribute] = getattr(relation, attribute)
        for name, values in relation.parameters.items():
            group.create_dataset(name, data=values)
