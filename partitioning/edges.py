"""The pass that turns events into edges: ids become offsets, edges go to a spill file of their split and bucket."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.graph import SPLITS
from partitioning.config import GraphConfig
from partitioning.engine import Engine, translated
from partitioning.entities import EntityMap
from partitioning.events import DRAWN, Events, NamedRelation, relation_table, text
from partitioning.key import Indices, KeyLayout, Keys, mix

_BATCH = 1 << 20


@dataclass(frozen=True)
class Grid:
    """The buckets of the graph and how an edge is packed into a key."""

    lhs_partitions: int
    rhs_partitions: int
    layout: KeyLayout

    @classmethod
    def of(cls, relations: list[NamedRelation], entities: dict[str, EntityMap]) -> "Grid":
        lhs = [entities[relation.config.lhs.type].counts for relation in relations]
        rhs = [entities[relation.config.rhs.type].counts for relation in relations]
        return cls(
            max(map(len, lhs)), max(map(len, rhs)), KeyLayout.of(len(relations), max(map(max, lhs)), max(map(max, rhs)))
        )

    @property
    def buckets(self) -> int:
        return self.lhs_partitions * self.rhs_partitions


@dataclass
class EdgeSpill:
    """Unordered keys of every (split, bucket) on disk, and what was seen while they were written."""

    directory: Path
    grid: Grid
    # First and last training event, epoch seconds; of a random split, first and last event of all.
    window: tuple[int | None, int | None] = (None, None)

    def path(self, split: int, bucket: int) -> Path:
        return self.directory / f"edges-{SPLITS[split]}-{bucket}"

    def keys(self, split: int, bucket: int) -> Keys:
        """Keys (N,) of a bucket; their file is removed."""
        path = self.path(split, bucket)
        if not path.exists():
            return np.empty(0, np.uint64)
        keys = np.fromfile(path, np.uint64)
        path.unlink()
        return keys

    def append(self, cells: NDArray[np.int64], keys: Keys) -> None:
        """Writes keys (N,) to the files of their cells (N,): split * buckets + bucket."""
        count = len(SPLITS) * self.grid.buckets
        order = np.argsort(cells.astype(np.min_scalar_type(count)), kind="stable")
        keys = keys[order]
        ends = np.cumsum(np.bincount(cells, minlength=count))
        for cell, end in enumerate(ends):
            start = ends[cell - 1] if cell else 0
            if end > start:
                with self.path(*divmod(cell, self.grid.buckets)).open("ab") as file:
                    keys[start:end].tofile(file)


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
    spill = EdgeSpill(directory, Grid.of(relations, entities))
    done = 0
    for sql in _queries(engine, events, relations, entities, spill.grid, bool(config.split.random)):
        for batch in engine.batches(sql, _BATCH):
            _append(spill, config, relations, batch)
            done += batch.num_rows
            progress(done)
    return spill


def _queries(
    engine: Engine,
    events: list[Events],
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    grid: Grid,
    hashed: bool,
) -> Iterator[str]:
    """One query for each pair of entity types, so that each map is loaded as seldom as possible."""
    rows: dict[tuple[str, str], list[str]] = {}
    for part in events:
        if sql := _events(engine, part, relations):
            rows.setdefault((part.relation.lhs.type, part.relation.rhs.type), []).append(sql)
    layout = grid.layout
    for (lhs, rhs), parts in rows.items():
        yield (
            f"SELECT CAST(l.part * {grid.rhs_partitions} + r.part AS INTEGER) AS bucket, split, time, "
            f"(CAST(rel AS UBIGINT) << {layout.lhs_bits + layout.rhs_bits}) | "
            f"(CAST(l.at AS UBIGINT) << {layout.rhs_bits}) | CAST(r.at AS UBIGINT) AS key"
            f"{', l.hash AS lhs_hash, r.hash AS rhs_hash' * hashed} FROM ({' UNION ALL '.join(parts)}) e "
            f"JOIN {_offsets(entities[lhs])} l ON l.id = e.lhs JOIN {_offsets(entities[rhs])} r ON r.id = e.rhs"
        )


def _offsets(entities: EntityMap) -> str:
    return f"(SELECT *, rowid - {entities.starts}[part + 1] AS at FROM {entities.table})"


def _events(engine: Engine, events: Events, relations: list[NamedRelation]) -> str | None:
    """SQL of (rel, lhs, rhs, split, time) of a relation's rows; `time` only of training events."""
    indices = [index for index, relation in enumerate(relations) if relation.declared == events.declared]
    if not indices:
        return None
    table, rel = f"{events.source.table} WHERE {events.condition}", str(indices[0])
    if column := events.relation.relation_column:
        names = relation_table(engine, events.declared, relations)
        table = f"(SELECT *, {text(column)} AS relation_name FROM {table}) JOIN {names} USING (relation_name)"
        rel = "rel"
    time = f"CASE WHEN {events.split} IN (0, {DRAWN}) THEN {events.source.time} END" if events.source.time else "NULL"
    return (
        f"SELECT {rel} AS rel, {events.id('lhs')} AS lhs, {events.id('rhs')} AS rhs, "
        f"CAST({events.split} AS UTINYINT) AS split, CAST({time} AS BIGINT) AS time FROM {table}"
    )


def _append(spill: EdgeSpill, config: GraphConfig, relations: list[NamedRelation], batch: pa.RecordBatch) -> None:
    times = batch.column("time")
    # Not Array.to_numpy, which imports pandas.
    columns: dict[str, Any] = {
        name: np.from_dlpack(batch.column(name)) for name in batch.schema.names if name != "time"
    }
    keys, split = columns["key"], columns["split"].astype(np.int64)
    if config.split.random:
        relation = spill.grid.layout.relation(keys)
        drawn = draw_split(config, [r.name for r in relations], relation, columns["lhs_hash"], columns["rhs_hash"])
        split = np.where(split == DRAWN, drawn, split)
    spill.window = _widened(spill.window, times)
    with translated():
        spill.append(split * spill.grid.buckets + columns["bucket"], keys)


def _widened(window: tuple[int | None, int | None], times: pa.Int64Array) -> tuple[int | None, int | None]:
    found = pc.min_max(times).as_py()
    lows = [low for low in (window[0], found["min"]) if low is not None]
    highs = [high for high in (window[1], found["max"]) if high is not None]
    return min(lows, default=None), max(highs, default=None)


def draw_split(config: GraphConfig, names: list[str], relation: Indices, lhs_hash: Keys, rhs_hash: Keys) -> Indices:
    """Split codes (N,) of edges, given relation indices (N,) and the md5 hashes (N,) of both ids.

    A portable hash of (seed, lhs id, relation name, rhs id), read as a fraction of 2^64: test is the lowest part.
    """
    assert config.split.random
    digests = [hashlib.md5(f"{config.seed}\t{name}".encode()).digest()[8:] for name in names]
    salt = np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)
    # Mixing between the steps keeps (a, b) and (b, a) apart.
    fraction = mix(mix(mix(salt[relation]) ^ lhs_hash) ^ rhs_hash) / 2.0**64
    test = config.split.random.test
    return np.where(fraction < test, 2, np.where(fraction < test + config.split.random.valid, 1, 0))
