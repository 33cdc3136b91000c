"""Reads an export that may be damaged or made by hand: what is wrong with it is said before anything is used."""

import json
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.embeddings.format import (
    ABSENT,
    FORMAT,
    FORMAT_VERSION,
    ID_TYPES,
    JSON_ATTRIBUTES,
    LABEL_TYPES,
    PLAIN_ATTRIBUTES,
    RELATION_ATTRIBUTES,
    ROOT_ATTRIBUTES,
    SIMILARITIES,
    VECTOR_TYPES,
    Array,
    ExportedRelation,
    Ids,
    as_ids,
    hash_ids,
)
from artifacts.embeddings.index import Index, open_index
from artifacts.embeddings.similarity import Neighbor, nearest_rows
from artifacts.errors import ConfigError, DataError
from artifacts.files.hdf5 import BROKEN, dataset_in, group_in
from artifacts.files.held import hold
from artifacts.files.json_file import parse_json
from artifacts.files.regular import open_regular
from artifacts.formats.graph import Graph
from artifacts.formats.reader_schema import require_readable
from artifacts.formats.run import EMBEDDINGS, EXPORT
from artifacts.section import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

CHECK_ROWS = 1 << 20  # offsets looked at together
OF_THE_RUN = ("run_id", "config_hash", "metrics")  # attributes that nothing is computed with


class Embeddings:
    """An export, memory-mapped: opening it reads its structure only, and pages come in as they are touched.

    The file is opened once, so that what is mapped is what was checked, also where the path leads elsewhere meanwhile.
    While it is mapped, `keep` and `transra clean` do not remove its run.
    """

    def __init__(self, path: Path) -> None:
        """Opens the export at `path`. Raises DataError when it is not one, is cut short, or of another version."""
        self.path = path
        self._types: dict[str, dict[str, Array]] = {}
        self._degree_names: dict[str, tuple[str, ...]] = {}
        self._relations: dict[str, ExportedRelation] = {}
        self._texts: dict[tuple[str, str], pa.LargeStringArray] = {}
        self._indexes: dict[str, Index | None] = {}
        self._trained: dict[str, NDArray[np.bool_]] = {}
        what = f"a whole export, version {FORMAT_VERSION}"
        with open_regular(path, what) as opened:
            try:
                self._read(opened)
            except BROKEN as error:
                raise DataError(f"{path}: expected {what} ({' '.join(str(error).split())})") from error

    @classmethod
    def open(cls, path: Path | str) -> "Embeddings":
        """Opens the export of a run, given the run's directory or a link to it, such as runs/x/latest.

        The link is followed once, and all that is read is of the run that it led to then, also after it has moved on:
        that run's file stays mapped, even where it is removed meanwhile. Where a run was removed before it was open, as
        the link moved on, the new one is opened. `path` of the result says which run it is. Raises DataError as the
        constructor does, and for a run whose manifest has a newer major version.
        """
        while True:
            run = Path(path).resolve()
            try:
                require_readable(run)
                return cls(run / EXPORT / EMBEDDINGS)
            except DataError:
                if Path(path).resolve() == run:
                    raise

    def _read(self, opened: BinaryIO) -> None:
        with h5py.File(opened, "r") as file:
            self.attributes = _attributes(file)
            hold(opened)  # the map keeps it
            self._map = np.memmap(opened, np.uint8, "r")
            for name in group_in(file, "entities"):
                self._read_type(name, group_in(file["entities"], name))
            relations = group_in(file, "relations")
            for index in sorted(relations, key=int):
                self._read_relation(group_in(relations, index))

    def _read_type(self, name: str, group: h5py.Group) -> None:
        ids = group_in(group, "ids")
        arrays = {key: self._mapped(dataset_in(ids, key, dtype)) for key, dtype in ID_TYPES.items()}
        arrays["vectors"] = self._mapped(dataset_in(group, "vectors", *VECTOR_TYPES))
        if "degrees" in group:
            degrees = dataset_in(group, "degrees", "int32")
            arrays["degrees"] = self._mapped(degrees)
            self._degree_names[name] = tuple(parse_json(degrees.attrs["names"], list[str]))
        if "trained" in group:
            arrays["trained"] = self._mapped(dataset_in(group, "trained", "uint8"))
        if "labels" in group:
            labels = group_in(group, "labels")
            arrays |= {f"label_{key}": self._mapped(dataset_in(labels, key, kind)) for key, kind in LABEL_TYPES.items()}
        self._types[name] = arrays
        self._require_consistent(name)

    def _read_relation(self, group: h5py.Group) -> None:
        fields = {key: _text(group.attrs[key], key) for key in RELATION_ATTRIBUTES}
        parameters = {key: self._mapped(dataset_in(group, key, "float32", "float16", "float64")) for key in group}
        self._relations[fields["name"]] = ExportedRelation(**fields, parameters=parameters)

    def _mapped(self, dataset: h5py.Dataset) -> Array:
        """Returns a dataset as a view of the one map of the file: a map each would hold a file handle each."""
        if dataset.size == 0:
            return np.empty(dataset.shape, dataset.dtype)
        start = dataset.id.get_offset()
        if start is None:
            raise ValueError(f"{dataset.name} has no content")
        mapped: Array = self._map[start : start + dataset.nbytes].view(dataset.dtype).reshape(dataset.shape)
        return mapped

    def _require_consistent(self, name: str) -> None:
        arrays = self._types[name]
        count, dimension = arrays["vectors"].shape
        shapes = [arrays[key].shape for key in ("offsets", "hash_sorted", "hash_rows")]
        if dimension != self.attributes["dimension"] or shapes != [(count + 1,), (count,), (count,)]:
            raise ValueError(f"/entities/{name}: its arrays do not fit each other")
        if "degrees" in arrays and arrays["degrees"].shape != (count, len(self._degree_names[name])):
            raise ValueError(f"/entities/{name}: its degrees do not fit its vectors")
        if "trained" in arrays and arrays["trained"].shape != (count,):
            raise ValueError(f"/entities/{name}: what is trained does not fit its vectors")
        if "label_bytes" in arrays and arrays["label_offsets"].shape != (count + 1,):
            raise ValueError(f"/entities/{name}: its labels do not fit its vectors")
        for kind, which in (("ids", ""), ("labels", "label_")):
            if (text := arrays.get(f"{which}bytes")) is not None:
                end = arrays[f"{which}offsets"][-1]
                if text.ndim != 1 or end != len(text):
                    raise ValueError(f"/entities/{name}/{kind}: {len(text)} bytes, expected {end}")

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

    @cached_property
    def content(self) -> str:
        """SHA-256 of all that is computed with: ids, vectors, degrees, who is trained, relations and how they score.

        Exports of other runs, or of another writer, have the same where a reader would find the same; labels, and the
        attributes that name the run, are no part of it.
        """
        found = sha256(_as_json({key: self.attributes[key] for key in self.attributes if key not in OF_THE_RUN}))
        for name in sorted(self._types):
            found.update(_as_json([name, self.degree_names(name)]))
            _add(found, {key: self._types[name][key] for key in self._types[name] if not key.startswith("label_")})
        for relation in self.relations:
            found.update(_as_json([getattr(relation, key) for key in RELATION_ATTRIBUTES]))
            _add(found, relation.parameters)
        return found.hexdigest()

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

    def trained(self, entity_type: str) -> NDArray[np.bool_]:
        """Returns which rows of a type have a vector that means something, (N,): a training edge, of this run or of one
        that it began from, told where the entity belongs. The others are zeros (of a type in `bias_against` but for the
        constant, so that they ask for what is popular), and unknown to all that asks by id."""
        if entity_type not in self._trained:
            stored = self._arrays(entity_type).get("trained")
            found = np.ones(self.count(entity_type), bool) if stored is None else stored.astype(bool)
            found.setflags(write=False)
            self._trained[entity_type] = found
        return self._trained[entity_type]

    def sample(self, entity_type: str, about: int) -> NDArray[np.float32]:
        """Returns vectors of a type, (M, D), from `about` so many rows, evenly spread, without those never trained."""
        vectors = self.vectors(entity_type)
        step = max(len(vectors) // about, 1)
        return np.asarray(vectors[::step], np.float32)[self.trained(entity_type)[::step]]

    def frame(self, entity_type: str) -> "pd.DataFrame":
        """Returns the vectors of a type as a pandas DataFrame (N, D), read-only, indexed by `id`.

        Who was never trained has what `trained` says. Vectors are not copied: they stay mapped, so memory holds the
        pages that are touched. Of the ids pandas 3 makes Arrow strings, as long as they are, and pandas 2 a Python
        object each, about 60 bytes; a look-up by id also builds pandas' own hash table. For a few ids of many, `rows`
        reads less.
        """
        import pandas as pd

        index = pd.Index(self.ids(entity_type).to_pandas(), name="id")
        return pd.DataFrame(self.vectors(entity_type), index=index, copy=False)

    def require_finite(self, entity_type: str, block: Array, start: int) -> None:
        """Raises DataError that names the first entity of a block (B, D), which begins at row `start`, with a NaN or an
        infinity."""
        broken = ~np.isfinite(block).all(axis=1)
        if broken.any():
            name = self.id(entity_type, start + int(np.argmax(broken)))
            raise DataError(f"{self.path}: /entities/{entity_type}: the vector of {name!r} is not finite")

    def hashes(self, entity_type: str) -> Array:
        """Returns the sorted hashes of a type's ids, (N,) uint64: they tell one set of ids from another."""
        return self._arrays(entity_type)["hash_sorted"]

    def degrees(self, entity_type: str) -> Array | None:
        """Returns the training edges of a type's entities by relation and side, (N, K) int32; None if not exported."""
        return self._arrays(entity_type).get("degrees")

    def degree_names(self, entity_type: str) -> tuple[str, ...]:
        """What each of the K columns counts: `<relation>:<side>`, or the side alone; () if not exported."""
        self._arrays(entity_type)
        return self._degree_names.get(entity_type, ())

    def ids(self, entity_type: str) -> pa.LargeStringArray:
        """Returns the ids of a type in row order, (N,): an Arrow array over the mapped bytes, without a copy."""
        return self._text(entity_type, "ids", "")

    def labels(self, entity_type: str) -> pa.LargeStringArray | None:
        """Returns what a person reads beside the ids of a type, (N,), in row order and without a copy: '' where an
        entity has no label; None for a type of which none were exported."""
        return self._text(entity_type, "labels", "label_") if "label_bytes" in self._arrays(entity_type) else None

    def label(self, entity_type: str, id: str) -> str | None:
        """The label of an id; None where it has none. Raises DataError for bytes that are no UTF-8."""
        labels, (row,) = self.labels(entity_type), self._found(entity_type, [id])
        return (self._at(entity_type, labels, int(row), "label") or None) if labels is not None and row >= 0 else None

    def named(self, entity_type: str, id: str) -> dict[str, str]:
        """How answers name an entity: `id`, and `label` where it has one."""
        label = self.label(entity_type, id)
        return {"id": id} if label is None else {"id": id, "label": label}

    def _text(self, entity_type: str, kind: str, which: str) -> pa.LargeStringArray:
        if (entity_type, kind) not in self._texts:
            arrays = self._arrays(entity_type)
            self._require_ascending(f"{entity_type}/{kind}", arrays[f"{which}offsets"])
            buffers = (pa.py_buffer(arrays[f"{which}offsets"]), pa.py_buffer(arrays[f"{which}bytes"]))
            self._texts[entity_type, kind] = pa.LargeStringArray.from_buffers(self.count(entity_type), *buffers)
        return self._texts[entity_type, kind]

    def _require_ascending(self, path: str, offsets: Array) -> None:
        """Raises DataError for offsets (N + 1,) that do not go up from 0: Arrow would read beyond the map, and die."""
        for start in range(0, len(offsets), CHECK_ROWS):
            block = offsets[start : start + CHECK_ROWS + 1]
            if (start == 0 and block[0] != 0) or (block[1:] < block[:-1]).any():
                raise DataError(f"{self.path}: /entities/{path}/offsets do not ascend from 0")

    def id(self, entity_type: str, row: int) -> str:
        """Raises DataError for bytes that are no UTF-8."""
        return self._at(entity_type, self.ids(entity_type), row, "id")

    def _at(self, entity_type: str, texts: pa.LargeStringArray, row: int, what: str) -> str:
        try:
            return str(texts[row].as_py())
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}: /entities/{entity_type}: the {what} of row {row} is no UTF-8") from error

    def rows(self, entity_type: str, ids: Ids) -> NDArray[np.int64]:
        """Returns the row of each of M ids, (M,); -1 for an unknown one, one that was never trained, or a null."""
        found = self._found(entity_type, ids)
        if (trained := self._arrays(entity_type).get("trained")) is not None and len(trained):
            found[trained[np.maximum(found, 0)] == 0] = -1
        return found

    def _found(self, entity_type: str, ids: Ids) -> NDArray[np.int64]:
        """Returns the row of each of M ids, (M,), trained or not; -1 for an unknown one or a null.

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
            if len(proposed) and not 0 <= proposed.min() <= proposed.max() < len(stored):
                raise DataError(f"{self.path}: /entities/{entity_type}/ids/hash_rows: a row that is not there")
            equal = pc.equal(stored.take(pa.array(proposed)), queries.take(pa.array(pending)))
            same = equal.fill_null(False).to_numpy(zero_copy_only=False)
            rows[pending[same]] = proposed[same]
            positions, pending = _keep(~same, positions + 1, pending)
        return rows

    def neighbors(
        self,
        entity_type: str,
        ids: Ids = (),
        *,
        vectors: Array | None = None,
        k: int = 10,
        to: str | None = None,
        exact: bool = False,
    ) -> list[list[Neighbor]]:
        """Returns, for each of Q `ids`, or else of the `vectors` (Q, D) given, the `k` nearest entities of type `to`
        (its own by default) in the anchor space: nearest first, itself left out.

        By the index of the export where it has one, unless `exact`; similarities are exact either way. Raises
        ConfigError for an unknown type and vectors of another shape, DataError for an unknown id, a vector that is not
        finite, and an index that was made from other vectors.
        """
        to = to or entity_type
        for name in (entity_type, to):
            if name not in self.types:
                raise ConfigError(f"unknown entity type '{name}'{did_you_mean(name, list(self.types))}")
        rows = self._known_rows(entity_type, ids) if vectors is None else np.empty(0, np.int64)
        queries = self.queries(entity_type, rows) if vectors is None else self._given(vectors)
        own = rows if vectors is None and to == entity_type else np.full(len(queries), -1)
        found, scores = self._nearest(to, queries, k, own, exact)
        return [
            [Neighbor(self.id(to, int(row)), float(score)) for row, score in zip(*pair, strict=True) if row >= 0]
            for pair in zip(found, scores, strict=True)
        ]

    def queries(self, entity_type: str, rows: Array) -> Array:
        """Returns the vectors of entities as they ask for others, (Q, D) float32. Raises DataError for one that is not
        finite."""
        found = np.array(self.vectors(entity_type)[rows], np.float32)
        for row, vector in zip(rows, found, strict=True):
            self.require_finite(entity_type, vector[None], int(row))
        if (against := self.attributes["bias_against"]) and entity_type not in against:
            found[:, 0] = 0  # a bias is meant for the constant that these types have in its place
        return found

    def _known_rows(self, entity_type: str, ids: Ids) -> NDArray[np.int64]:
        rows = self.rows(entity_type, ids)
        if (rows < 0).any():
            id = as_ids(ids)[int(np.argmax(rows < 0))].as_py()
            raise DataError(f"{self.path}: {self.why_unknown(entity_type, id, [id])}")
        return rows

    def why_unknown(self, entity_type: str, id: str, names: list[str]) -> str:
        """What the export lacks of an id that `rows` finds by none of its names, and which other types have it."""
        types = [type for type in self.types if (self._found(type, names) >= 0).any()]
        if entity_type in types:
            return f"entity type '{entity_type}' has no training edge, so no vector, of id {id!r}"
        others = f"; it is an id of {' and of '.join(map(repr, types))}" if types else ""
        return f"entity type '{entity_type}' has no id {id!r}{others}"

    def _given(self, vectors: Array) -> Array:
        queries = np.ascontiguousarray(vectors, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dimension or not np.isfinite(queries).all():
            raise ConfigError(f"vectors of shape {queries.shape}: expected finite ones, (Q, {self.dimension})")
        return queries

    def _nearest(self, to: str, queries: Array, k: int, own: Array, exact: bool) -> tuple[Array, Array]:
        trained = self.trained(to)
        vectors, similarity, wanted = self.vectors(to), self.attributes["similarity"], min(k, int(trained.sum()))
        index = None if exact or not wanted else self.index(to)
        if index is not None:
            rows, scores = index.nearest(similarity, queries, wanted, own)
            least = wanted - (own >= 0) if wanted == trained.sum() else np.full(len(own), wanted)
            if (np.count_nonzero(rows >= 0, axis=1) >= least).all():  # else more than its lists hold was asked for
                return rows, scores
        return nearest_rows(
            vectors,
            similarity,
            queries,
            wanted,
            own,
            trained,
            lambda block, start: self.require_finite(to, block, start),
        )

    def index(self, entity_type: str) -> Index | None:
        """The index of a type; None where the export has none, or FAISS is not installed. Raises DataError for a broken
        one and one of other vectors."""
        if entity_type not in self._indexes:
            arrays, similarity = self._arrays(entity_type), self.attributes["similarity"]
            self._indexes[entity_type] = open_index(
                self.path.parent,
                entity_type,
                arrays["vectors"],
                arrays["hash_sorted"],
                similarity,
                self.trained(entity_type),
            )
        return self._indexes[entity_type]


def _keep(mask: Array, *arrays: Array) -> list[Array]:
    return [array[mask] for array in arrays]


def _attributes(file: h5py.File) -> dict[str, Any]:
    """Returns the root attributes, JSON ones parsed. Raises ValueError for a file of another kind or version."""
    found = file.attrs.get("format"), file.attrs.get("format_version")
    if found != (FORMAT, FORMAT_VERSION):
        raise ValueError(f"format and version are {found}")
    absent = {name: value for name, value in ABSENT.items() if name not in file.attrs}
    values = {name: file.attrs[name] for name in ROOT_ATTRIBUTES if name not in absent}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    for name, kind in JSON_ATTRIBUTES.items():
        plain[name] = absent[name] if name in absent else parse_json(plain[name], kind)
    for name, kind in PLAIN_ATTRIBUTES.items():
        if not isinstance(plain[name], kind):
            raise ValueError(f"attribute {name} is {plain[name]!r}")
    if plain["similarity"] not in SIMILARITIES:
        raise ValueError(f"similarity {plain['similarity']!r}, expected one of {', '.join(SIMILARITIES)}")
    return plain


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"attribute {name} is {value!r}, expected text")
    return value


def _as_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _add(digest: Any, arrays: Mapping[str, Array]) -> None:
    """Adds arrays by name, with their types and shapes, to a digest of hashlib's."""
    for name in sorted(arrays):
        digest.update(_as_json([name, str(arrays[name].dtype), arrays[name].shape]))
        digest.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8))
