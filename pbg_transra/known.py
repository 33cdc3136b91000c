"""Where the entities of a graph lie in another one, by their ids, and whose vectors a training has taken over.

known/<type>_<part>.npy in a model's directory: (n,) bool. A training that began with random values has none.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.formats.graph import EntityType, Graph, ids_path


def known_rows(graph_dir: Path, kind: EntityType, before_dir: Path, before: Graph) -> list[NDArray[np.int64]]:
    """Rows (n,) in the graph `before` of the entities of each partition, counted through the type's partitions there;
    -1 for those that it does not have. The ids of a type lie in memory, of both graphs."""
    former = next((each for each in before.entity_types if each.name == kind.name), None)
    if former is None:
        return [np.full(count, -1) for count in kind.counts]
    theirs, ours = _ids(before_dir, former), _ids(graph_dir, kind)
    rows = pc.index_in(ours, value_set=theirs).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.split(rows, np.cumsum(kind.counts)[:-1])


def keep_known(model_dir: Path, entity: str, partition: int, known: NDArray[np.bool_]) -> None:
    """Keeps whose vectors are taken over, (n,). Raises OSError."""
    path = _path(model_dir, entity, partition)
    path.parent.mkdir(exist_ok=True)
    np.save(path, known)


def known_before(model_dir: Path, entity: str, partition: int) -> NDArray[np.bool_]:
    """What was kept, (n,). Raises OSError where nothing was."""
    found: NDArray[np.bool_] = np.load(_path(model_dir, entity, partition), allow_pickle=False)
    return found


def trained_rows(model_dir: Path, entity: str, partition: int, have_edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whose vectors in a model mean something, (n,): a training edge told where they belong, of its own graph or of the
    model that it began from. What the others have are random values, moved away from others as negatives. `have_edges`
    (n,) tells of its own graph (`degrees`)."""
    if not _path(model_dir, entity, partition).exists():
        return have_edges
    return have_edges | known_before(model_dir, entity, partition)


def ask_for_what_is_popular_(vectors: NDArray[Any], trained: NDArray[np.bool_]) -> None:
    """Leaves of a block (B, D) of a constant type (`tail_bias`) the constant alone where training told nothing.

    `trained` (B,). Such a head then ranks tails by their biases. What else training leaves in its row is random.
    """
    vectors[~trained, 1:] = 0


def _path(model_dir: Path, entity: str, partition: int) -> Path:
    return model_dir / "known" / f"{entity}_{partition}.npy"


def _ids(directory: Path, kind: EntityType) -> pa.LargeStringArray:
    parts = [
        pq.read_table(ids_path(directory, kind.name, part), columns=["id"])["id"] for part in range(kind.partitions)
    ]
    chunks = [chunk.cast(pa.large_string()) for part in parts for chunk in part.chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_string())
