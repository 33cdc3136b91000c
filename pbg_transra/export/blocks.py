"""Entities of a type as they stream out of a checkpoint: block by block, in row order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.formats.graph import EntityType, Graph, ids_path, labels_path
from pbg_transra.config import ExportConfig
from pbg_transra.degrees import have_edges, training_degrees
from pbg_transra.known import ask_for_what_is_popular_, trained_rows
from pbg_transra.pbg.checkpoint import Checkpoint, require_finite

BLOCK_ROWS = 1 << 16


class Block(NamedTuple):
    """Consecutive entities of a type: B ids, (B, D) vectors in the export's dtype, (B, K) degrees, who was ever
    trained, (B,) bool: the vectors of the others say nothing (`entity_blocks`); and B labels, or None."""

    ids: pa.Array
    vectors: NDArray[Any]
    degrees: NDArray[np.int32] | None
    trained: NDArray[np.bool_]
    labels: pa.Array | None = None

    def of_trained(self) -> "Block":
        """The same without the others."""
        chosen, degrees = self.trained, self.degrees
        part = None if degrees is None else degrees[chosen]
        labels = None if self.labels is None else self.labels.filter(pa.array(chosen))
        return Block(self.ids.filter(pa.array(chosen)), self.vectors[chosen], part, chosen[chosen], labels)


def entity_blocks(
    graph_dir: Path, graph: Graph, entity_type: EntityType, checkpoint: Checkpoint, export: ExportConfig, constant: bool
) -> Iterator[Block]:
    """Yields the entities of a type in row order: partition by partition, offset by offset.

    The vectors of those never trained, which are what they began as, moved away from others as negatives, are replaced
    by zeros; but for the constant of a `constant` type (`tail_bias`).
    """
    for partition, count in enumerate(entity_type.counts):
        path, offset = ids_path(graph_dir, entity_type.name, partition), 0
        degrees, with_edges = _of_edges(graph_dir, graph, entity_type, partition, export.degrees)
        trained = trained_rows(checkpoint.directory, entity_type.name, partition, with_edges)
        with checkpoint.vectors(entity_type.name, partition) as dataset, pq.ParquetFile(path) as file:
            if file.metadata.num_rows != count:
                raise DataError(f"{path}: {file.metadata.num_rows} ids, graph.json says {count}")
            labels = _labels(graph_dir, entity_type, partition)
            for batch in file.iter_batches(BLOCK_ROWS, columns=["id"]):
                vectors = dataset[offset : offset + len(batch)]
                require_finite(vectors, graph_dir, entity_type, partition, offset)
                rows = slice(offset, offset + len(batch))
                if constant:
                    ask_for_what_is_popular_(vectors, trained[rows])
                else:
                    vectors[~trained[rows]] = 0
                part = None if degrees is None else degrees[rows]
                converted = _converted(vectors, export.dtype, entity_type.name)
                named = None if labels is None else labels[rows]
                yield Block(batch["id"], converted, part, trained[rows], named)
                offset = rows.stop


def _of_edges(
    graph_dir: Path, graph: Graph, entity_type: EntityType, partition: int, wanted: bool
) -> tuple[NDArray[np.int32] | None, NDArray[np.bool_]]:
    """Degrees (N, K) where they are wanted, and who has a training edge, (N,); the buckets are read once."""
    if not wanted:
        return None, have_edges(graph_dir, graph, entity_type, partition)
    degrees = training_degrees(graph_dir, graph, entity_type, partition)
    return degrees, np.any(degrees, axis=1)


def _converted(vectors: NDArray[Any], dtype: str, entity_type: str) -> NDArray[Any]:
    """Returns vectors (B, D) as `dtype`. Raises DataError for components that only float32 can hold."""
    with np.errstate(over="ignore"):
        converted = vectors.astype(dtype, copy=False)
    if not np.isfinite(converted).all():
        raise DataError(f"entity type '{entity_type}': a component exceeds {dtype}; expected export.dtype 'float32'")
    return converted


def _labels(graph_dir: Path, entity_type: EntityType, partition: int) -> pa.LargeStringArray | None:
    """The labels of a partition; None of a type without. Raises DataError for a file of another partition."""
    path, count = labels_path(graph_dir, entity_type.name, partition), entity_type.counts[partition]
    if not path.exists():
        return None
    labels = pq.read_table(path, columns=["label"])["label"].cast(pa.large_string()).combine_chunks()
    if len(labels) != count:
        raise DataError(f"{path}: {len(labels)} labels, graph.json says {count}")
    return labels


def id_bytes(graph_dir: Path, entity_type: EntityType) -> int:
    """Returns the bytes of UTF-8 in all ids of a type: HDF5 must know the size of a contiguous array beforehand."""
    return _text_bytes([ids_path(graph_dir, entity_type.name, part) for part in range(entity_type.partitions)])


def label_bytes(graph_dir: Path, entity_type: EntityType) -> int | None:
    """The same of all labels; None of a type without."""
    paths = [labels_path(graph_dir, entity_type.name, part) for part in range(entity_type.partitions)]
    return _text_bytes(paths) if paths[0].exists() else None


def _text_bytes(paths: list[Path]) -> int:
    """Bytes of UTF-8 in the only column of Parquet files."""
    total = 0
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BLOCK_ROWS):
                total += pc.sum(pc.binary_length(batch.column(0))).as_py() or 0
    return total
