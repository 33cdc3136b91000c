"""An index of FAISS for each entity type of an export that has just been written."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.embeddings import Embeddings
from artifacts.embeddings.index import ASKED, build_index, index_path, write_manifest


def write_indexes(directory: Path, progress: Callable[[str, float], None]) -> dict[str, Any]:
    """Writes <type>.faiss and faiss.json beside the embeddings.h5 in `directory`; returns what each index is.

    Recall is measured with entities of all types, as each of them may ask. Memory is that of the vectors of one type.
    """
    export = Embeddings(directory / "embeddings.h5")
    queries, found = _queries(export), {}
    for number, name in enumerate(export.types):
        progress(f"index of {name}", number / len(export.types))
        vectors, similarity = export.vectors(name), export.attributes["similarity"]
        path = index_path(directory, name)
        found[name] = build_index(vectors, export.hashes(name), similarity, export.trained(name), queries, path)
    write_manifest(directory, found)
    return {
        name: {**asdict(facts), "bytes": index_path(directory, name).stat().st_size} for name, facts in found.items()
    }


def _queries(export: Embeddings) -> Any:
    """Vectors of entities as they ask, of each type alike, (ASKED, D) or fewer."""
    random, trained = np.random.default_rng(1), {name: np.flatnonzero(export.trained(name)) for name in export.types}
    types = [name for name, rows in trained.items() if len(rows)]
    each = max(1, ASKED // max(1, len(types)))
    drawn = {name: random.choice(trained[name], min(each, len(trained[name])), replace=False) for name in types}
    empty = np.empty((0, export.dimension), np.float32)
    return np.concatenate([empty, *(export.queries(name, np.sort(rows)) for name, rows in drawn.items())])
