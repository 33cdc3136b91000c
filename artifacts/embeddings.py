"""The exported vectors: one HDF5 file whose arrays are contiguous and uncompressed, so that they can be memory-mapped.

    /entities/<type>/vectors          (N, D) float32 or float16; rows in the graph's order: partition by partition
    /entities/<type>/degrees          (N, K) int32, optional: training edges of each entity by relation and side;
                                      attribute `names` (JSON list) says which column counts what
    /entities/<type>/ids/bytes        (bytes,) uint8: the UTF-8 of all ids, one after the other
    /entities/<type>/ids/offsets      (N + 1,) int64: id i is bytes[offsets[i]:offsets[i + 1]]
    /entities/<type>/ids/hash_sorted  (N,) uint64: the lower half of every id's md5, ascending
    /entities/<type>/ids/hash_rows    (N,) int64: the row that each of them belongs to
    /relations/<index>                in the order of the index: the group tracks the order of creation, which h5py
                                      follows (files of earlier writers iterate as text; `Embeddings` sorts by number);
                                      attributes name, lhs, rhs, operator; one dataset per parameter of the operator:
                                      projection (D, D), or left_projection and right_projection, and translation (D,);
                                      a projection that is absent (an anchor relation's) is the identity

Attributes of the root: format, format_version, anchors (JSON list), operator, dimension, similarity, scale,
config_hash, run_id, metrics (JSON). The hash is the one by which `partitioning` places ids.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.graph import Graph

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "transra embeddings"
FORMAT_VERSION = 1
ROOT_ATTRIBUTES = ("anchors", "operator", "dimension", "similarity", "scale", "config_hash", "run_id", "metrics")
JSON_ATTRIBUTES = ("anchors", "metrics")
ID_DATASETS = ("bytes", "offsets", "hash_sorted", "hash_rows")
ALIGNMENT = 64  # bytes; a mapped array that starts elsewhere is slower to read
HASH_BLOCK = 1 << 20  # rows of the sorted hashes written at a time

Array = NDArray[Any]
Ids: TypeAlias = "Sequence[str | None] | Array | pa.Array | pa.ChunkedArray"


def hash_ids(ids: pa.Array) -> NDArray[np.uint64]:
    """Returns the lower 64 bits of each id's md5, (N,); a null hashes like the empty id."""
    digests = [md5(id or b"", usedforsecurity=False).digest() for id in ids.cast(pa.large_binary()).to_pylist()]
    return np.frombuffer(b"".join(digests), dtype="<u8")[1::2]


def as_ids(ids: Ids) -> pa.LargeStringArray:
    """Returns ids as one Arrow array. Raises pyarrow's TypeError when they are no strings."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if isinstance(ids, pa.Array):
        return ids.cast(pa.large_string())
    return pa.array(ids, type=pa.large_string())


@dataclass(frozen=True)
class ExportedRelation:
    """A relation as exported; `parameters` by name, each (D, D) or (D,)."""

    name: str
    lhs: str
    rhs: str
    operator: str
    parameters: Mapping[str, Array]


class TypeWriter:
    """Appends the entities of one type in row order.

    Vectors and ids pass through; what stays in memory until `finish` is the hash of every id: 8 bytes per entity, and
    16 while they are sorted.
    """

    def __init__(
        self, group: h5py.Group, count: int, dimension: int, id_bytes: int, dtype: str, degrees: Sequence[str]
    ) -> None:
        ids = group.create_group("ids")
        self._vectors = group.create_dataset("vectors", (count, dimension), dtype)
        self._degrees = group.create_dataset("degrees", (count, len(degrees)), np.int32) if degrees else None
        if self._degrees is not None:
            self._degrees.attrs["names"] = json.dumps(list(degrees))
        self._bytes = ids.create_dataset("bytes", (id_bytes,), np.uint8)
        self._offsets = ids.create_dataset("offsets", (count + 1,), np.int64)
        self._hash_sorted = ids.create_dataset("hash_sorted", (count,), np.uint64)
        self._hash_rows = ids.create_dataset("hash_rows", (count,), np.int64)
        self._hashes = np.empty(count, np.uint64)
        self._rows = self._length = 0
        self._offsets[0] = 0

    def append(self, ids: pa.Array, vectors: Array, degrees: Array | None = None) -> None:
        """Writes the next entities: `vectors` (B, D) and `degrees` (B, K), in the order of the B `ids`."""
        rows = slice(self._rows, self._rows + len(ids))
        lengths = pc.binary_length(ids).to_numpy(zero_copy_only=False).astype(np.int64)
        data = b"".join(ids.cast(pa.large_binary()).to_pylist())
        self._vectors[rows] = vectors
        if self._degrees is not None:
            self._degrees[rows] = degrees
        self._offsets[rows.start + 1 : rows.stop + 1] = self._length + np.cumsum(lengths)
        self._bytes[self._length : self._length + len(data)] = np.frombuffer(data, np.uint8)
        self._hashes[rows] = hash_ids(ids)
        self._rows, self._length = rows.stop, self._length + len(data)

    def finish(self) -> None:
        """Writes the hash index. Raises ValueError unless exactly the announced entities were appended."""
        if (self._rows, self._length) != (len(self._hashes), len(self._bytes)):
            raise ValueError(f"{self._rows} of {len(self._hashes)} entities were written")
        order = np.argsort(self._hashes)
        self._hash_rows[:] = order
        for start in range(0, len(order), HASH_BLOCK):
            self._hash_sorted[start : start + HASH_BLOCK] = self._hashes[order[start : start + HASH_BLOCK]]


class EmbeddingsWriter:
    """Writes one export, type by type and relation by relation. A context manager; not atomic by itself."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._file = h5py.File(path, "x", alignment_threshold=1, alignment_interval=ALIGNMENT)
        self._file.attrs.update({"format": FORMAT, "format_version": FORMAT_VERSION})
        for name in ROOT_ATTRIBUTES:
            value = attributes[name]
            self._file.attrs[name] = json.dumps(value, allow_nan=False) if name in JSON_ATTRIBUTES else value
        self._file.create_group("entities")
        self._file.create_group("relations", track_order=True)  # or 10 would come before 2

    def __enter__(self) -> "EmbeddingsWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def entities(self, name: str, count: int, id_bytes: int, dtype: str, degrees: Sequence[str] = ()) -> TypeWriter:
        """Opens a type of `count` entities whose ids have `id_bytes` bytes of UTF-8 altogether.

        `degrees` names the columns of their degrees, if any are written.
        """
        dimension = int(self._file.attrs["dimension"])
        return TypeWriter(self._file["entities"].create_group(name), count, dimension, id_bytes, dtype, degrees)

    def relation(self, index: int, relation: ExportedRelation) -> None:
        group = self._file["relations"].create_group(str(index))
        for attribute in ("name", "lhs", "rhs", "operator"):
            group.attrs[attribute] = getattr(relation, attribute)
        for name, values in relation.parameters.items():
            group.create_dataset(name, data=values)


class Embeddings:
    """An export, memory-mapped: opening it reads its structure only, and pages come in as they are touched."""

    def __init__(self, path: Path) -> None:
        """Opens the export at `path`. Raises DataError when it is not one, is cut short, or of another version."""
        self.path = path
        self._types: dict[str, dict[str, Array]] = {}
        self._degree_names: dict[str, tuple[str, ...]] = {}
        self._relations: dict[str, ExportedRelation] = {}
        try:
            with h5py.File(path, "r") as file:
                self.attributes = _attributes(file)
                self._map = np.memmap(path, np.uint8, "r")
                self._read_structure(file)
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{path}: expected a whole export, version {FORMAT_VERSION} ({error})") from error

    def _read_structure(self, file: h5py.File) -> None:
        for name, group in file["entities"].items():
            self._types[name] = {key: self._mapped(group["ids"][key]) for key in ID_DATASETS}
            self._types[name]["vectors"] = self._mapped(group["vectors"])
            if degrees := group.get("degrees"):
                self._types[name]["degrees"] = self._mapped(degrees)
                self._degree_names[name] = tuple(json.loads(degrees.attrs["names"]))
            self._require_consistent(name)
        for _, group in sorted(file["relations"].items(), key=lambda item: int(item[0])):
            fields = {key: str(group.attrs[key]) for key in ("name", "lhs", "rhs", "operator")}
            parameters = {key: self._mapped(dataset) for key, dataset in group.items()}
            self._relations[fields["name"]] = ExportedRelation(**fields, parameters=parameters)

    def _mapped(self, dataset: h5py.Dataset) -> Array:
        """Returns a dataset as a view of the one map of the file: a map each would hold a file handle each."""
        if dataset.size == 0:
            return np.empty(dataset.shape, dataset.dtype)
        start = dataset.id.get_offset()
        if start is None:
            raise ValueError(f"{dataset.name} is not contiguous")
        mapped: Array = self._map[start : start + dataset.nbytes].view(dataset.dtype).reshape(dataset.shape)
        return mapped

    def _require_consistent(self, name: str) -> None:
        arrays = self._types[name]
        count, dimension = arrays["vectors"].shape
        lengths = [len(arrays[key]) for key in ("offsets", "hash_sorted", "hash_rows")]
        if dimension != self.attributes["dimension"] or lengths != [count + 1, count, count]:
            raise ValueError(f"/entities/{name}: its arrays do not fit each other")
        if "degrees" in arrays and arrays["degrees"].shape != (count, len(self._degree_names[name])):
            raise ValueError(f"/entities/{name}: its degrees do not fit its vectors")
        if arrays["offsets"][-1] != len(arrays["bytes"]):
            raise ValueError(f"/entities/{name}/ids: {len(arrays['bytes'])} bytes, expected {arrays['offsets'][-1]}")

    def _arrays(self, entity_type: str) -> dict[str, Array]:
        try:
            return self._types[entity_type]
        except KeyError:
            raise DataError(
                f"{self.path}: entity type '{entity_type}' is not in the export (known: {', '.join(self.types)})"
            ) from None

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(self._types)

    @property
    def dimension(self) -> int:
        return int(self.attributes["dimension"])

    @property
    def relations(self) -> tuple[ExportedRelation, ...]:
        """All relations in the graph's order."""
        return tuple(self._relations.values())

    def relation(self, name: str) -> ExportedRelation:
        """Raises DataError for a name that is not in the export."""
        if name not in self._relations:
            raise DataError(f"{self.path}: relation '{name}' is not in the export")
        return self._relations[name]

    def require_fits(self, graph: Graph) -> None:
        """Raises DataError unless these are the entities and relations of `graph`, by name and number."""
        found: dict[str, int | str] = {name: self.count(name) for name in self.types}
        found |= {r.name: f"{r.lhs} -> {r.rhs}" for r in self.relations}
        expected: dict[str, int | str] = {t.name: t.count for t in graph.entity_types}
        expected |= {r.name: f"{r.lhs} -> {r.rhs}" for r in graph.relations}
        for name in [*expected, *found]:
            if found.get(name) != expected.get(name):
                one, other = found.get(name, "nothing"), expected.get(name, "nothing")
                raise DataError(f"{self.path}: export of another graph: '{name}': found {one}, expected {other}")

    def count(self, entity_type: str) -> int:
        return len(self.vectors(entity_type))

    def vectors(self, entity_type: str) -> Array:
        """Returns the vectors of a type, (N, D): an np.memmap, read-only."""
        return self._arrays(entity_type)["vectors"]

    def frame(self, entity_type: str) -> "pd.DataFrame":
        """Returns the vectors of a type as a pandas DataFrame (N, D), read-only, indexed by `id`.

        Vectors are not copied: they stay mapped, so memory holds the pages that are touched. Of the ids pandas 3 makes
        Arrow strings, as long as they are, and pandas 2 a Python object each, about 60 bytes; a look-up by id also
        builds pandas' own hash table. For a few ids of many, `rows` reads less.
        """
        import pandas as pd

        index = pd.Index(self.ids(entity_type).to_pandas(), name="id")
        return pd.DataFrame(self.vectors(entity_type), index=index, copy=False)

    def degrees(self, entity_type: str) -> Array | None:
        """Returns the training edges of a type's entities by relation and side, (N, K) int32; None if not exported."""
        return self._arrays(entity_type).get("degrees")

    def degree_names(self, entity_type: str) -> tuple[str, ...]:
        """What each of the K columns counts: `<relation>:<side>`, or the side alone; () if not exported."""
        self._arrays(entity_type)
        return self._degree_names.get(entity_type, ())

    def ids(self, entity_type: str) -> pa.LargeStringArray:
        """Returns the ids of a type in row order, (N,): an Arrow array over the mapped bytes, without a copy."""
        arrays = self._arrays(entity_type)
        buffers = (pa.py_buffer(arrays["offsets"]), pa.py_buffer(arrays["bytes"]))
        return pa.LargeStringArray.from_buffers(self.count(entity_type), *buffers)

    def id(self, entity_type: str, row: int) -> str:
        return str(self.ids(entity_type)[row].as_py())

    def rows(self, entity_type: str, ids: Ids) -> NDArray[np.int64]:
        """Returns the row of each of M ids, (M,); -1 for an unknown one or a null.

        A hash only proposes a row: the id's own bytes decide, so two ids with one hash are told apart.
        """
        arrays, stored, queries = self._arrays(entity_type), self.ids(entity_type), as_ids(ids)
        hashes = hash_ids(queries)
        rows = np.full(len(queries), -1, np.int64)
        pending = np.argsort(hashes)  # neighbouring searches then touch neighbouring pages
        positions = np.searchsorted(arrays["hash_sorted"], hashes[pending])
        while len(pending):
            positions, pending = _keep(positions < len(stored), positions, pending)
            positions, pending = _keep(arrays["hash_sorted"][positions] == hashes[pending], positions, pending)
            proposed = np.asarray(arrays["hash_rows"][positions])
            equal = pc.equal(stored.take(pa.array(proposed)), queries.take(pa.array(pending)))
            same = equal.fill_null(False).to_numpy(zero_copy_only=False)
            rows[pending[same]] = proposed[same]
            positions, pending = _keep(~same, positions + 1, pending)
        return rows


def _keep(mask: Array, *arrays: Array) -> list[Array]:
    return [array[mask] for array in arrays]


def _attributes(file: h5py.File) -> dict[str, Any]:
    """Returns the root attributes, JSON ones parsed. Raises ValueError for a file of another kind or version."""
    found = file.attrs.get("format"), file.attrs.get("format_version")
    if found != (FORMAT, FORMAT_VERSION):
        raise ValueError(f"format and version are {found}")
    values = {name: file.attrs[name] for name in ROOT_ATTRIBUTES}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    return {name: json.loads(value) if name in JSON_ATTRIBUTES else value for name, value in plain.items()}
