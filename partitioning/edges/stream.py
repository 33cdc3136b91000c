"""The pass that turns events into edges: ids become offsets, edges go to a spill file of their split and bucket."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.errors import DataError
from partitioning.config.sections import GraphConfig
from partitioning.edges.edge_hash import draw_split
from partitioning.edges.query import Grid, edge_queries
from partitioning.edges.spill import EdgeSpill
from partitioning.entities.entity_map import EntityMap
from partitioning.events.events import DRAWN, Events
from partitioning.events.relations import NamedRelation
from partitioning.events.weights import INVALID, invalid_weight
from partitioning.ledger.settled import Settled
from partitioning.sources.diagnosis import place
from partitioning.sources.engine import Engine, translated

_BATCH = 1 << 20


def spill_edges(
    engine: Engine,
    config: GraphConfig,
    events: list[Events],
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    directory: Path,
    progress: Callable[[int], None],
    settled: Settled | None,
) -> EdgeSpill:
    """Streams all events through the entity map. `progress` is told the number of edges so far."""
    weighted = any(relation.config.weight for relation in relations)
    spill = EdgeSpill(
        directory, Grid.of(relations, entities), np.zeros(len(relations), np.int64), weighted, settled=settled
    )
    if settled is not None:
        spill.window = settled.window
    extra = {name: name for name, kept in (("units", weighted), ("moment", config.append_only)) if kept}
    if config.split.random:
        extra |= {"lhs_hash": "l.hash", "rhs_hash": "r.hash"}
    for sql in edge_queries(engine, events, relations, entities, spill.grid, extra):
        with closing(engine.batches(sql, _BATCH)) as batches:
            for batch in batches:
                _append(spill, config, relations, batch)
                progress(int(spill.events.sum()))
                if spill.wrong is not None:
                    break
        if spill.wrong is not None:
            raise _wrong_weight(engine, events, spill.wrong)
    return spill


def _append(spill: EdgeSpill, config: GraphConfig, relations: list[NamedRelation], batch: pa.RecordBatch) -> None:
    # Not Array.to_numpy, which imports pandas.
    columns: dict[str, Any] = {
        name: np.from_dlpack(batch.column(name)) for name in batch.schema.names if name != "time"
    }
    keys, split, units = columns["key"], columns["split"].astype(np.int64), columns.get("units")
    relation = spill.grid.layout.relation(keys)
    if units is not None and (units == INVALID).any():
        spill.wrong = relations[int(relation[np.argmin(units)])]
    if config.split.random:
        hashes = columns["lhs_hash"], columns["rhs_hash"]
        drawn = draw_split(config.split.random, config.seed, relations, relation, *hashes)
        split = np.where(split == DRAWN, drawn, split)
    window = pc.min_max(batch.column("time")).as_py()
    spill.widen(window["min"], window["max"])
    spill.events += np.bincount(relation, minlength=len(relations))
    kept = {"keys": keys, "units": units, "moments": columns.get("moment")}
    with translated():
        cells = split * spill.grid.buckets + columns["bucket"]
        spill.append(cells, {name: column for name, column in kept.items() if column is not None})


def _wrong_weight(engine: Engine, events: list[Events], relation: NamedRelation) -> DataError:
    """The error for the first event of a relation whose weight is not a positive number."""
    for part in (part for part in events if part.declared == relation.declared):
        wrong = f"({part.condition}) AND {invalid_weight(part.relation)}"
        if found := engine.rows(
            f"SELECT CAST(({part.relation.weight}) AS DOUBLE) FROM {part.source.table} WHERE {wrong} LIMIT 1"
        ):
            where = place(engine, part.source, wrong)
            return DataError(
                f"{where}: graph.relations[{relation.declared}].weight is {found[0][0]}; expected a positive number"
            )
    raise AssertionError(f"a weight of {relation.name} is invalid, but no row has it")
