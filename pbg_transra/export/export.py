"""Writes a trained checkpoint out: embeddings.h5 always, <type>.parquet and TSV where `export.formats` asks.

    transra export CONFIG

All vectors stream through in blocks of rows; what grows with the number of entities is the hash index of one type at a
time (16 bytes an entity) and the degrees of one partition (4 bytes for each relation and side of its type).

TSV is the layout of `torchbiggraph_export_to_tsv`: `entities.tsv` holds `name<TAB>v1<TAB>...`, without a column for the
type (types follow each other in the graph's order), and `relations.tsv` holds
`name<TAB>rhs<TAB>operator<TAB>parameter<TAB>shape<TAB>v1<TAB>...`. A tab, line break or backslash in a
name is written as \\t, \\n, \\r, \\\\.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.embeddings import EmbeddingsWriter, ExportedRelation, TypeWriter
from artifacts.errors import DataError
from artifacts.graph import EntityType, Graph, ids_path, load_graph
from pbg_transra.config import ExportConfig, ModelConfig
from pbg_transra.export.degrees import degree_names, training_degrees
from pbg_transra.pbg.checkpoint import Checkpoint, as_matrices, require_finite
from pbg_transra.pbg.operators import operator_name

BLOCK_ROWS = 1 << 16

Progress = Callable[[str, float], None]
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class ExportReport:
    """What was written: entities of all types, and the bytes of all files."""

    entities: int
    bytes: int


class Block(NamedTuple):
    """Consecutive entities of a type: B ids, (B, D) vectors in the export's dtype and (B, K) degrees."""

    ids: pa.Array
    vectors: NDArray[Any]
    degrees: NDArray[np.int32] | None


def export_embeddings(
    graph_dir: Path,
    model_dir: Path,
    destination: Path,
    model: ModelConfig,
    export: ExportConfig,
    attributes: Mapping[str, Any],
    progress: Progress,
) -> ExportReport:
    """Exports the checkpoint in `model_dir` into the empty directory `destination`.

    `attributes` gives config_hash, run_id and metrics; `progress` is told a label and the fraction done. Raises
    DataError for a checkpoint of another graph and for a vector with a NaN.
    """
    graph, checkpoint = load_graph(graph_dir), Checkpoint(model_dir)
    checkpoint.require_fits(graph, model.dimension)
    fields = {name: getattr(model, name) for name in ("anchors", "operator", "dimension", "similarity", "scale")}
    done = 0
    with EmbeddingsWriter(destination / "embeddings.h5", {**attributes, **fields}) as writer:
        _write_relations(writer, graph, checkpoint, model)
        for kind in graph.entity_types:
            names = degree_names(graph, kind) if export.degrees else ()
            table = writer.entities(kind.name, kind.count, _id_bytes(graph_dir, kind), export.dtype, names)
            blocks = _blocks(graph_dir, graph, kind, checkpoint, export)
            for count in _write_type(kind.name, blocks, table, destination, model.dimension, export):
                done += count
                progress(f"export {kind.name}", done / graph.entities)
    if "tsv" in export.formats:
        _write_relations_tsv(destination / "relations.tsv", graph, checkpoint, model)
    return ExportReport(graph.entities, sum(path.stat().st_size for path in destination.iterdir()))


def _write_relations(writer: EmbeddingsWriter, graph: Graph, checkpoint: Checkpoint, model: ModelConfig) -> None:
    for index, relation in enumerate(graph.relations):
        parameters = as_matrices(checkpoint.relation_parameters(index), model.dimension)
        operator = operator_name(model, relation)
        writer.relation(index, ExportedRelation(relation.name, relation.lhs, relation.rhs, operator, parameters))


def _write_type(
    name: str, blocks: Iterator[Block], table: TypeWriter, destination: Path, dimension: int, export: ExportConfig
) -> Iterator[int]:
    """Sends the blocks of one type to every format, yielding the number of entities after each."""
    with ExitStack() as stack:
        sinks: list[Callable[[Block], None]] = [lambda block: table.append(*block)]
        if "parquet" in export.formats:
            sinks.append(stack.enter_context(_parquet(destination / f"{name}.parquet", dimension)))
        if "tsv" in export.formats:
            file = stack.enter_context((destination / "entities.tsv").open("a", encoding="utf-8"))
            sinks.append(lambda block: _write_entities_tsv(file, block))
        for block in blocks:
            for sink in sinks:
                sink(block)
            yield len(block.ids)
    table.finish()


def _blocks(
    graph_dir: Path, graph: Graph, entity_type: EntityType, checkpoint: Checkpoint, export: ExportConfig
) -> Iterator[Block]:
    """Yields the entities of a type in row order: partition by partition, offset by offset."""
    for partition, count in enumerate(entity_type.counts):
        path, offset = ids_path(graph_dir, entity_type.name, partition), 0
        degrees = training_degrees(graph_dir, graph, entity_type, partition) if export.degrees else None
        with checkpoint.vectors(entity_type.name, partition) as dataset, pq.ParquetFile(path) as file:
            if file.metadata.num_rows != count:
                raise DataError(f"{path}: {file.metadata.num_rows} ids, graph.json says {count}")
            for batch in file.iter_batches(BLOCK_ROWS, columns=["id"]):
                vectors = dataset[offset : offset + len(batch)]
                require_finite(vectors, graph_dir, entity_type, partition, offset)
                rows = slice(offset, offset + len(batch))
                part = None if degrees is None else degrees[rows]
                yield Block(batch["id"], _converted(vectors, export.dtype, entity_type.name), part)
                offset = rows.stop


def _converted(vectors: NDArray[Any], dtype: str, entity_type: str) -> NDArray[Any]:
    """Returns vectors (B, D) as `dtype`. Raises DataError for components that only float32 can hold."""
    with np.errstate(over="ignore"):
        converted = vectors.astype(dtype, copy=False)
    if not np.isfinite(converted).all():
        raise DataError(f"entity type '{entity_type}': a component exceeds {dtype}; expected export.dtype 'float32'")
    return converted


def _id_bytes(graph_dir: Path, entity_type: EntityType) -> int:
    """Returns the bytes of UTF-8 in all ids of a type: HDF5 must know the size of a contiguous array beforehand."""
    total = 0
    for partition in range(entity_type.partitions):
        with pq.ParquetFile(ids_path(graph_dir, entity_type.name, partition)) as file:
            for batch in file.iter_batches(BLOCK_ROWS, columns=["id"]):
                total += pc.sum(pc.binary_length(batch["id"])).as_py() or 0
    return total


@contextmanager
def _parquet(path: Path, dimension: int) -> Iterator[Callable[[Block], None]]:
    """Yields what appends a block to a Parquet file of `id` (string) and `vector` (D floats)."""
    schema = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), dimension))])

    def append(block: Block) -> None:
        flat = pa.array(block.vectors.astype(np.float32, copy=False).ravel())
        vectors = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type)
        writer.write_table(pa.table([block.ids.cast(pa.string()), vectors], schema=schema))

    # vectors neither compress nor repeat
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        yield append


def _write_entities_tsv(file: TextIO, block: Block) -> None:
    row_format = "%s" + "\t%.9f" * block.vectors.shape[1] + "\n"
    for name, row in zip(block.ids.to_pylist(), block.vectors.tolist(), strict=True):
        file.write(row_format % (name.translate(ESCAPES), *row))


def _write_relations_tsv(path: Path, graph: Graph, checkpoint: Checkpoint, model: ModelConfig) -> None:
    with path.open("x", encoding="utf-8") as file:
        for index, relation in enumerate(graph.relations):
            for name, values in checkpoint.relation_parameters(index).items():
                shape = "x".join(str(length) for length in values.shape)
                key = (relation.name.translate(ESCAPES), "rhs", operator_name(model, relation), name, shape)
                file.write("\t".join([*key, *(f"{value:.9f}" for value in values.ravel().tolist())]) + "\n")
