"""Writes a trained checkpoint out: embeddings.h5 always, <type>.parquet and TSV where `export.formats` asks.

    transra export CONFIG

All vectors stream through in blocks of rows; what grows with the number of entities is the hash index of one type at a
time (16 bytes an entity), and the degrees of one partition (4 bytes for each relation and side of its type) and its
labels.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from artifacts.embeddings import EmbeddingsWriter, ExportedRelation, TypeWriter
from artifacts.formats.graph import Graph, load_graph
from pbg_transra.backends.tail_bias import constant_types
from pbg_transra.config import ExportConfig, ModelConfig
from pbg_transra.degrees import degree_names
from pbg_transra.export.blocks import Block, entity_blocks, id_bytes, label_bytes
from pbg_transra.export.indexes import write_indexes
from pbg_transra.export.parquet import event_time, parquet_file
from pbg_transra.export.tsv import write_entities_tsv, write_relations_tsv
from pbg_transra.pbg.checkpoint import Checkpoint, as_matrices
from pbg_transra.pbg.operators import operator_name
from pbg_transra.reports import ExportReport

Progress = Callable[[str, float], None]


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
    constant = constant_types(graph.relations, model)
    fields["bias_against"] = sorted(constant)
    done, untrained, moment = 0, 0, event_time(graph)
    with EmbeddingsWriter(destination / "embeddings.h5", {**attributes, **fields}) as writer:
        _write_relations(writer, graph, checkpoint, model)
        for kind in graph.entity_types:
            names = degree_names(graph, kind) if export.degrees else ()
            texts = id_bytes(graph_dir, kind), label_bytes(graph_dir, kind)
            table = writer.entities(kind.name, kind.count, texts[0], export.dtype, names, texts[1])
            blocks = entity_blocks(graph_dir, graph, kind, checkpoint, export, kind.name in constant)
            for block in _write_type(kind.name, blocks, table, destination, model.dimension, export, moment):
                done += len(block.ids)
                untrained += int((~block.trained).sum())
                progress(f"vectors of {kind.name}", done / graph.entities)
    if "tsv" in export.formats:
        write_relations_tsv(destination / "relations.tsv", graph, checkpoint, model)
    indexes = write_indexes(destination, progress) if "faiss" in export.formats else {}
    size = sum(path.stat().st_size for path in destination.iterdir())
    return ExportReport(graph.entities, untrained, size, indexes)


def _write_relations(writer: EmbeddingsWriter, graph: Graph, checkpoint: Checkpoint, model: ModelConfig) -> None:
    for index, relation in enumerate(graph.relations):
        parameters = as_matrices(checkpoint.relation_parameters(index), model.dimension)
        operator = operator_name(model, relation)
        writer.relation(index, ExportedRelation(relation.name, relation.lhs, relation.rhs, operator, parameters))


def _write_type(
    name: str,
    blocks: Iterator[Block],
    table: TypeWriter,
    destination: Path,
    dimension: int,
    export: ExportConfig,
    moment: datetime,
) -> Iterator[Block]:
    """Sends the blocks of one type to every format, yielding each; rows of text and Parquet are of who was trained."""
    with ExitStack() as stack:
        sinks: list[Callable[[Block], None]] = []
        if "parquet" in export.formats:
            sinks.append(stack.enter_context(parquet_file(destination / f"{name}.parquet", dimension, moment)))
        if "tsv" in export.formats:
            file = stack.enter_context((destination / "entities.tsv").open("a", encoding="utf-8"))
            sinks.append(lambda block: write_entities_tsv(file, block))
        for block in blocks:
            table.append(*block)
            for sink in sinks:
                sink(block.of_trained())
            yield block
    table.finish()
