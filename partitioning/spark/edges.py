"""Edges on Spark: events are joined to the places of both ids, and shuffled to the spill of their bucket."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from artifacts.errors import DataError
from artifacts.formats.graph import Side
from partitioning.edges.grid import Grid
from partitioning.edges.query import extra_columns
from partitioning.edges.spill import EdgeSpill
from partitioning.edges.stream import SpillReport, Window
from partitioning.spark.attempts import take
from partitioning.spark.bucket_tasks import SPILLED, EdgeTasks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from partitioning.entities.entity_map import EntityMap
    from partitioning.spark.events import SparkEvents

_MOST_TASKS = 4096


def spill_edges(
    session: SparkSession, events: SparkEvents, entities: dict[str, EntityMap], placed: DataFrame, directory: Path
) -> tuple[EdgeSpill, SpillReport]:
    """Spills the edges of all events. Raises DataError for a weight that is not a positive number."""
    if not events.relations:
        raise DataError("graph.relations: no relation has a single edge")
    grid = Grid.of(events.relations, entities)
    weighted = any(relation.config.weight for relation in events.relations)
    spill = EdgeSpill(directory, grid, weighted)
    tasks = EdgeTasks(events.config, events.relations, spill)
    edges = _edges(session, events, placed, grid).repartition(min(len(grid), _MOST_TASKS), "bucket")
    rows = edges.mapInArrow(tasks.put, SPILLED).collect()
    if wrong := [row["wrong"] for row in rows if row["wrong"] >= 0]:
        raise events.wrong_weight(events.relations[wrong[0]].declared)
    window, counted = Window(), np.zeros(len(events.relations), np.int64)
    heaviest = np.zeros_like(counted)
    for row in rows:
        take(Path(row["attempt"]), directory)
        window = window.including(Window(row["first"], row["last"]))
        counted += np.array(row["events"], np.int64)
        heaviest = np.maximum(heaviest, np.array(row["heaviest"], np.int64))
    return spill, SpillReport(counted, heaviest, window)


def _edges(session: SparkSession, events: SparkEvents, placed: DataFrame, grid: Grid) -> DataFrame:
    """The columns of `edge_batch`. An id that has no place takes its edges with it."""
    layout, extra = grid.layout, extra_columns(events.config, events.relations)
    named = [(r.declared, "" if r.config.name else r.name, at) for at, r in enumerate(events.relations)]
    relations = session.createDataFrame(named, "declared int, relation string, rel bigint")
    edges = events.rows.join(F.broadcast(relations), ["declared", "relation"])
    for side in Side:
        there = placed.select(*(F.col(column).alias(f"{side}_{column}") for column in placed.columns))
        same = (events.type_of(side) == there[f"{side}_type"]) & (edges[str(side)] == there[f"{side}_id"])
        edges = edges.join(there, same)
    key = F.shiftleft("rel", layout.lhs_bits + layout.rhs_bits)
    key = key.bitwiseOR(F.shiftleft("lhs_id_offset", layout.rhs_bits)).bitwiseOR(F.col("rhs_id_offset"))
    bucket = (F.col("lhs_part") * grid.rhs_partitions + F.col("rhs_part")).cast("int")
    more = [name for name in ("units", "moment", "lhs_hash", "rhs_hash") if name in extra]
    return edges.select(bucket.alias("bucket"), "split", "time", key.alias("key"), *more)
