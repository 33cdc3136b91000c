"""The SQL that turns events into edges: each id is replaced by its partition and offset."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine, text
from artifacts.formats.graph import Side
from partitioning.config.sections import GraphConfig
from partitioning.edges.edge_hash import split_by_hash
from partitioning.edges.grid import Grid
from partitioning.edges.key import Indices
from partitioning.edges.stream import EdgeBatch, Window
from partitioning.entities.id_table import IdTable
from partitioning.events.events import BY_HASH, Events
from partitioning.events.relations import NamedRelation, relation_table
from partitioning.events.weights import INVALID, MOST, invalid_weight
from partitioning.sources.diagnosis import row_of

_BATCH = 1 << 20
_UNSIGNED = ("key", "lhs_hash", "rhs_hash")


def edge_batches(
    engine: Engine,
    config: GraphConfig,
    events: list[Events],
    relations: list[NamedRelation],
    ids: dict[str, IdTable],
    grid: Grid,
) -> Iterator[EdgeBatch]:
    """Streams all events through the tables of ids. Raises DataError for a weight that is not a positive number."""
    extra = extra_columns(config, relations)
    for sql in _edge_queries(engine, events, relations, ids, grid, extra):
        wrong = None
        with closing(engine.batches(sql, _BATCH)) as batches:
            for batch in batches:
                edges = edge_batch(config, relations, grid, batch)
                if edges.units is not None and (invalid := edges.units == INVALID).any():
                    wrong = relations[int(grid.layout.relation(edges.keys[invalid])[0])]
                    break
                yield edges
        if wrong is not None:
            raise wrong_weight(engine, events, wrong.declared)


def edge_batch(config: GraphConfig, relations: list[NamedRelation], grid: Grid, batch: pa.RecordBatch) -> EdgeBatch:
    """Edges of the columns bucket, split, time and key, and as the config asks for them units, moment, lhs_hash and
    rhs_hash, (N,) each. Keys and hashes may be signed: the same 64 bits."""
    columns = _numpy(batch)
    columns |= {name: columns[name].view(np.uint64) for name in _UNSIGNED if name in columns}
    split = _split(config, relations, grid, columns)
    units, moments = columns.get("units"), columns.get("moment")
    return EdgeBatch(columns["bucket"], split, columns["key"], units, moments, _window(batch))


def extra_columns(config: GraphConfig, relations: list[NamedRelation]) -> dict[str, str]:
    """What `edge_batch` asks of an edge beside bucket, split, time and key: SQL by name."""
    weighted = any(relation.config.weight for relation in relations)
    extra = {name: name for name, kept in (("units", weighted), ("moment", config.append_only)) if kept}
    return {**extra, "lhs_hash": "l.hash", "rhs_hash": "r.hash"} if config.split.random else extra


def _numpy(batch: pa.RecordBatch) -> dict[str, Any]:
    """Columns (N,) without missing values. (Not Array.to_numpy, which imports pandas.)"""
    return {name: np.from_dlpack(batch.column(name)) for name in batch.schema.names if name != "time"}


def _split(config: GraphConfig, relations: list[NamedRelation], grid: Grid, columns: dict[str, Any]) -> Indices:
    split: Indices = columns["split"].astype(np.int64)
    if not config.split.random:
        return split
    relation, hashes = grid.layout.relation(columns["key"]), (columns["lhs_hash"], columns["rhs_hash"])
    hashed = split_by_hash(config.split.random, config.seed, relations, relation, *hashes)
    return np.where(split == BY_HASH, hashed, split)


def _window(batch: pa.RecordBatch) -> Window:
    times = pc.min_max(batch.column("time")).as_py()
    return Window(times["min"], times["max"])


def _edge_queries(
    engine: Engine,
    events: list[Events],
    relations: list[NamedRelation],
    ids: dict[str, IdTable],
    grid: Grid,
    extra: dict[str, str],
) -> Iterator[str]:
    """One query for each pair of entity types and kinds of ids, so that tables of ids are loaded as seldom as possible.

    Columns: bucket, split, time (of training events), key, and `extra` (SQL by name).
    """
    rows: dict[tuple[str, str, frozenset[Side]], list[str]] = {}
    for part in events:
        if sql := _event_query(engine, part, relations):
            rows.setdefault((part.relation.lhs.type, part.relation.rhs.type, part.numbers), []).append(sql)
    layout = grid.layout
    more = "".join(f", {sql} AS {name}" for name, sql in extra.items())
    for (lhs, rhs, numbers), parts in rows.items():
        left, right = ("number" if side in numbers else "id" for side in Side)
        yield (
            f"SELECT CAST(l.part * {grid.rhs_partitions} + r.part AS INTEGER) AS bucket, split, time, "
            f"(CAST(rel AS UBIGINT) << {layout.lhs_bits + layout.rhs_bits}) | "
            f"(CAST(l.id_offset AS UBIGINT) << {layout.rhs_bits}) | CAST(r.id_offset AS UBIGINT) AS key"
            f"{more} FROM ({' UNION ALL '.join(parts)}) e "
            f"JOIN {ids[lhs].offsets} l ON l.{left} = e.lhs JOIN {ids[rhs].offsets} r ON r.{right} = e.rhs"
        )


def _event_query(engine: Engine, events: Events, relations: list[NamedRelation]) -> str | None:
    """SQL of (rel, lhs, rhs, split, time, moment, units) of a relation's rows; `time` only of training events."""
    indices = [index for index, relation in enumerate(relations) if relation.declared == events.declared]
    if not indices:
        return None
    columns = event_columns(events)
    rows = f"FROM {events.source.table} WHERE {events.condition}"
    if not events.relation.relation_column:
        return f"SELECT {indices[0]} AS rel, {columns} {rows}"
    names = relation_table(engine, events.declared, relations)
    return (
        f"SELECT n.rel, e.* EXCLUDE (relation) FROM (SELECT {text(events.relation.relation_column)} AS relation, "
        f"{columns} {rows}) e JOIN {names} n ON n.relation_name = e.relation"
    )


def event_columns(events: Events) -> str:
    """SQL of (lhs, rhs, split, time, moment, units) of a relation's rows; `time` only of training events."""
    timed = events.source.time and events.relation.split
    time = f"CASE WHEN {events.split} IN (0, {BY_HASH}) THEN {events.source.time} END" if timed else "NULL"
    return (
        f"{events.id(Side.LHS)} AS lhs, {events.id(Side.RHS)} AS rhs, CAST({events.split} AS UTINYINT) AS split, "
        f"CAST({time} AS BIGINT) AS time, CAST({events.moment} AS BIGINT) AS moment, "
        f"CAST({events.weight} AS BIGINT) AS units"
    )


def wrong_weight(engine: Engine, events: list[Events], declared: int) -> DataError:
    """The error for the first event of a declared relation whose weight is not a positive number."""
    for part in (part for part in events if part.declared == declared):
        wrong = f"({part.condition}) AND {invalid_weight(part.relation)}"
        if found := engine.rows(
            f"SELECT CAST(({part.relation.weight}) AS DOUBLE) FROM {part.source.table} WHERE {wrong} LIMIT 1"
        ):
            where = row_of(engine, part.source, wrong)
            return DataError(
                f"{where}: graph.relations[{declared}].weight is {found[0][0]}; "
                f"expected a positive number up to {MOST:,}"
            )
    raise AssertionError(f"a weight of graph.relations[{declared}] is invalid, but no row has it")
