"""Approximate neighbours at scale: an index of FAISS for each type, in the export that it was made from.

    faiss.json      what each index is, how it is searched, its recall, and a fingerprint of its vectors and ids
    <type>.faiss    flat up to FLAT entities, beyond an inverted file; memory-mapped

`faiss.read_index` of FAISS itself reads the files. With `cos` they hold vectors of length 1. What an index proposes is
compared again with the vectors of the export, so that similarities are exact and only which are found is not.
"""

import hashlib
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings.similarity import nearest_rows, similarities
from artifacts.errors import ConfigError, DataError
from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json

MANIFEST = "faiss.json"
VERSION = 1
FLAT = 100_000  # entities of a type; up to here a scan takes milliseconds
FINGERPRINTED = 1024  # rows
BLOCK_ROWS = 1 << 16
K, WANTED = 10, 0.95  # recall@K that is looked for
DRAWN = 64  # vectors of each inverted list that its centre is found by
ASKED = 200  # vectors of the export that recall is measured with
SPARE = 4  # candidates for each neighbour that is wanted, as an index of cosines rounds otherwise

Array = NDArray[Any]


@dataclass(frozen=True)
class IndexFacts:
    """What faiss.json says of one type. `probes`: inverted lists that are searched; 0 of a flat index."""

    kind: str
    count: int
    lists: int
    probes: int
    recall: float
    fingerprint: str


@dataclass(frozen=True)
class Manifest:
    version: int
    types: dict[str, IndexFacts]


def require_faiss(asker: str) -> None:
    """Raises ConfigError where FAISS is missing."""
    if find_spec("faiss") is None:
        raise ConfigError(f"{asker}: needs FAISS, which is not installed; pip install 'transra[faiss]'")


def index_path(directory: Path, entity_type: str) -> Path:
    return directory / f"{entity_type}.faiss"


def fingerprint(vectors: Array, hashes: Array, similarity: str) -> str:
    """Tells the vectors (N, D) and ids of a type from others: a digest of rows all over them, and of their number."""
    rows = np.unique(np.linspace(0, max(0, len(vectors) - 1), FINGERPRINTED).astype(np.int64))
    digest = hashlib.sha256(f"{similarity} {vectors.dtype} {vectors.shape}".encode())
    if len(vectors):
        digest.update(np.ascontiguousarray(vectors[rows]).tobytes())
        digest.update(np.ascontiguousarray(hashes[rows]).tobytes())
    return digest.hexdigest()


def build_index(
    vectors: Array, hashes: Array, similarity: str, trained: NDArray[np.bool_], queries: Array, path: Path
) -> IndexFacts:
    """Writes the index of a type's vectors (N, D), and measures its recall with `queries` (Q, D).

    Who was never `trained`, (N,), has a place in it, as its rows are those of the export, and is nobody's neighbor.
    Memory is that of the vectors. Raises OSError where the file cannot be written.
    """
    import faiss

    count, dimension = vectors.shape
    found = np.flatnonzero(trained)
    lists = _lists(len(found))
    metric = faiss.METRIC_L2 if similarity in ("l2", "squared_l2") else faiss.METRIC_INNER_PRODUCT
    index: Any = faiss.index_factory(dimension, f"IVF{lists},Flat" if lists else "Flat", metric)
    if lists:
        index.cp.niter, index.cp.max_points_per_centroid = 8, DRAWN
        drawn = np.sort(np.random.default_rng(0).choice(found, min(len(found), DRAWN * lists), replace=False))
        index.train(_prepared(vectors[drawn], similarity))
    for start in range(0, count, BLOCK_ROWS):
        index.add(_prepared(vectors[start : start + BLOCK_ROWS], similarity))
    probes, recall = _probes(index, vectors, similarity, trained, queries, lists)
    _write(faiss, index, path)
    kind = "inverted file" if lists else "flat"
    return IndexFacts(kind, count, lists, probes, recall, fingerprint(vectors, hashes, similarity))


def _lists(count: int) -> int:
    """Inverted lists of an index of so many entities, a power of two near four times their root; 0 for none."""
    return 0 if count <= FLAT else 1 << round(log2(4 * count**0.5))


def index_bytes(count: int, dimension: int) -> int:
    """About the memory that making an index takes: its vectors and numbers of rows, and what its lists are found by."""
    return count * (4 * dimension + 8) + 2 * DRAWN * _lists(count) * 4 * dimension


def _prepared(vectors: Array, similarity: str) -> Array:
    found = np.ascontiguousarray(vectors, np.float32)
    if similarity != "cos":
        return found
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(np.float32).tiny))


def _write(faiss: Any, index: Any, path: Path) -> None:
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:  # FAISS has no other
        raise OSError(f"{path}: {' '.join(str(error).split())}") from error


def _searched(trained: NDArray[np.bool_], probes: int) -> Any:
    """How an index is searched for those who were `trained`, (N,); `probes`: 0 of a flat index."""
    import faiss

    parts: Any = faiss  # whose typing is of its C++ side
    chosen = {} if trained.all() else {"sel": parts.IDSelectorBitmap(np.packbits(trained, bitorder="little"))}
    return parts.SearchParametersIVF(nprobe=probes, **chosen) if probes else parts.SearchParameters(**chosen)


def _probes(
    index: Any, vectors: Array, similarity: str, trained: NDArray[np.bool_], queries: Array, lists: int
) -> tuple[int, float]:
    """The least power of two of inverted lists by which recall@K is WANTED, and what it is then."""
    k, probes = min(K, int(trained.sum())), min(lists, 1)
    if not k or not len(queries):
        return probes, 1.0
    exact, _ = nearest_rows(vectors, similarity, queries, k, among=trained)
    while True:
        _, found = index.search(_prepared(queries, similarity), k, params=_searched(trained, probes))
        recall = float(np.mean([np.isin(one, other).mean() for one, other in zip(exact, found, strict=True)]))
        if recall >= WANTED or 2 * probes > lists:
            return probes, recall
        probes *= 2


def write_manifest(directory: Path, types: dict[str, IndexFacts]) -> None:
    write_json(directory / MANIFEST, asdict(Manifest(VERSION, types)))


class Index:
    """The index of one type, opened and memory-mapped."""

    def __init__(
        self, directory: Path, entity_type: str, facts: IndexFacts, vectors: Array, trained: NDArray[np.bool_]
    ) -> None:
        """`trained` (N,): who can be found. Raises DataError for a file that is missing, is no index, or is one of
        another size or dimension."""
        import faiss

        path = index_path(directory, entity_type)
        try:
            found: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise DataError(f"{path}: expected an index of FAISS ({' '.join(str(error).split())[-200:]})") from error
        if (found.ntotal, found.d) != vectors.shape:
            raise DataError(f"{path}: index of {found.ntotal} x {found.d}, expected {vectors.shape}")
        self._index, self._vectors, self._how = found, vectors, _searched(trained, facts.probes)

    def nearest(self, similarity: str, queries: Array, k: int, excluded: Array) -> tuple[Array, Array]:
        """As `nearest_rows`, with approximate rows. Rows end in -1 where fewer than `k` were found."""
        asked, wanted = _prepared(queries, similarity), min(len(self._vectors), k + SPARE)
        _, proposed = self._index.search(asked, wanted, params=self._how)
        rows, best = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        for query, found in enumerate(proposed):
            found = found[(found >= 0) & (found != excluded[query])]
            scores = similarities(queries[query], np.asarray(self._vectors[found], np.float32), similarity)
            order = np.lexsort((found, -scores))[:k]
            rows[query, : len(order)], best[query, : len(order)] = found[order], scores[order]
        return rows, best


def open_index(
    directory: Path, entity_type: str, vectors: Array, hashes: Array, similarity: str, trained: NDArray[np.bool_]
) -> Index | None:
    """The index of a type beside its export; None where there is none, or no FAISS to read it.

    Raises DataError for one that was made from other vectors or ids, and for one that is broken.
    """
    path = directory / MANIFEST
    if not path.exists():
        return None
    manifest = read_json(path, Manifest, "what the indexes of an export are")
    if manifest.version != VERSION:
        raise DataError(f"{path}: version {manifest.version}, expected {VERSION}")
    facts = manifest.types.get(entity_type)
    if facts is None:
        raise DataError(f"{path}: no index of type '{entity_type}', though the export has it")
    if facts.fingerprint != fingerprint(vectors, hashes, similarity):
        raise DataError(f"{index_path(directory, entity_type)}: made from other vectors or ids than those beside it")
    if find_spec("faiss") is None:
        return None
    return Index(directory, entity_type, facts, vectors, trained)
