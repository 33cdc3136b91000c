"""The pass that turns events into edges: ids become offsets, edges go to a spill file of their split and bucket."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.graph import SPLITS
from partitioning.config import GraphConfig
from partitioning.diagnosis import place
from partitioning.draw import draw_split
from partitioning.edge_query import Grid, edge_queries
from partitioning.engine import Engine, translated
from partitioning.entities import EntityMap
from partitioning.events import DRAWN, Events, NamedRelation
from partitioning.key import Indices, Keys
from partitioning.weights import INVALID, invalid_weight

_BATCH = 1 << 20


@dataclass
class EdgeSpill:
    """Unordered keys of every (split, bucket) on disk, and what was seen while they were written."""

    directory: Path
    grid: Grid
    events: Indices  # (relations,)
    weighted: bool
    left_out: Counter[str] = field(default_factory=Counter)  # edges, by reason
    wrong: NamedRelation | None = None  # one with a weight that is not a positive number
    # First and last training event, epoch seconds; of a random split, first and last event of all.
    window: tuple[int | None, int | None] = (None, None)

    def keys(self, split: int, bucket: int) -> Keys:
        """Keys (N,) of a bucket; their file is removed."""
        return _taken(self._path("keys", split * self.grid.buckets + bucket), np.uint64)

    def units(self, split: int, bucket: int) -> Indices:
        """Weights (N,) of the same edges, in units; their file is removed."""
        return _taken(self._path("units", split * self.grid.buckets + bucket), np.int64)

    def holds(self, split: int, bucket: int) -> bool:
        """Whether a bucket has edges that were not taken yet."""
        return self._path("keys", split * self.grid.buckets + bucket).exists()

    def put(self, split: int, bucket: int, keys: Keys, units: Indices | None) -> None:
        """Writes keys (N,) and weights (N,) of a bucket whose files were taken."""
        for name, column in (("keys", keys), ("units", units)):
            if column is not None and len(column):
                column.tofile(self._path(name, split * self.grid.buckets + bucket))

    def append(self, cells: Indices, keys: Keys, units: Indices | None) -> None:
        """Writes keys (N,) and weights (N,) to the files of their cells (N,): split * buckets + bucket."""
        count = len(SPLITS) * self.grid.buckets
        order = np.argsort(cells.astype(np.min_scalar_type(count)), kind="stable")
        ends = np.cumsum(np.bincount(cells, minlength=count))
        for name, column in (("keys", keys), ("units", units)):
            for cell, rows in enumerate(np.split(column[order], ends[:-1]) if column is not None else []):
                if len(rows):
                    with self._path(name, cell).open("ab") as file:
                        rows.tofile(file)

    def _path(self, name: str, cell: int) -> Path:
        return self.directory / f"{name}-{cell}"


def _taken(path: Path, dtype: type[Any]) -> NDArray[Any]:
    """The content of a file, which is removed; empty if there is none."""
    if not path.exists():
        return np.empty(0, dtype)
    content = np.fromfile(path, dtype)
    path.unlink()
    return content


def spill_edges(
    engine: Engine,
    config: GraphConfig,
    events: list[Events],
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    directory: Path,
    progress: Callable[[int], None],
) -> EdgeSpill:
    """Streams all events through the entity map. `progress` is told the number of edges so far."""
    weighted = any(relation.config.weight for relation in relations)
    spill = EdgeSpill(directory, Grid.of(relations, entities), np.zeros(len(relations), np.int64), weighted)
    extra = {"units": "units"} if weighted else {}
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
    times = batch.column("time")
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
    spill.window = _widened(spill.window, times)
    spill.events += np.bincount(relation, minlength=len(relations))
    with translated():
        spill.append(split * spill.grid.buckets + columns["bucket"], keys, units)


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


def _widened(window: tuple[int | None, int | None], times: pa.Int64Array) -> tuple[int | None, int | None]:
    found = pc.min_max(times).as_py()
    lows = [low for low in (window[0], found["min"]) if low is not None]
    highs = [high for high in (window[1], found["max"]) if high is not None]
    return min(lows, default=None), max(highs, default=None)
