"""Where the entities of a graph lie in another one, by their ids."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.graph import EntityType, Graph, ids_path


def known_rows(graph_dir: Path, kind: EntityType, before_dir: Path, before: Graph) -> list[NDArray[np.int64]]:
    """Rows (n,) in the graph `before` of the entities of each partition, counted through the type's partitions there;
    -1 for those that it does not have. The ids of a type lie in memory, of both graphs."""
    former = next((each for each in before.entity_types if each.name == kind.name), None)
    if former is None:
        return [np.full(count, -1) for count in kind.counts]
    theirs, ours = _ids(before_dir, former), _ids(graph_dir, kind)
    rows = pc.index_in(ours, value_set=theirs).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.split(rows, np.cumsum(kind.counts)[:-1])


def _ids(directory: Path, kind: EntityType) -> pa.LargeStringArray:
    parts = [
        pq.read_table(ids_path(directory, kind.name, part), columns=["id"])["id"] for part in range(kind.partitions)
    ]
    chunks = [chunk.cast(pa.large_string()) for part in parts for chunk in part.chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_string())
