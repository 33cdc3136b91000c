"""What a build will probably take: for `transra partition --dry-run`, which has time to look.

The plan (`plan`) refuses what cannot end well, from sizes of files alone. Here the distinct ids are counted (DuckDB's
HyperLogLog over the columns of Parquet files: one pass), names of relations are read where columns name them, and a
small build is timed on this machine.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.expressions.engine import Engine, file_list, quoted
from artifacts.formats.bucket_file import narrowest
from artifacts.formats.graph import SPLITS, Side
from artifacts.machine.resources import cpu_count
from artifacts.sources.source_files import Files
from partitioning import build
from partitioning.buckets.counts import FLAGS_SHARE
from partitioning.config.sections import GraphConfig
from partitioning.inspection.names import relations_of_columns
from partitioning.inspection.plan import FILE_BYTES, MEMORY_PER_EDGE, MEMORY_PER_WEIGHTED_EDGE, Plan

_IDS_PER_EDGE = 0.25  # of a type in sources that are no Parquet files, whose ids are not counted
_KEY_BYTES = 8  # of an edge in the spill, until its bucket is written
_UNITS_BYTES, _WEIGHT_BYTES = 8, 4  # of a weight beside that key, and in the bucket
_ID_BYTES = 6  # of an id in its Parquet file: numbers as text, compressed
_BASE_BYTES = 250 << 20  # Python, Arrow and DuckDB, as measured
_THREAD_BYTES = 48 << 20  # what a thread of DuckDB scans and sorts at once, as measured
_MAP_BYTES = 100  # of an id: text and partition in its table, the same sorted, number and offset in a join's hash table
_COUNT_BYTES = 8  # of an id: its degree, and flags of where it occurs
_END_BYTES = 8  # of an end in a file, where flags of all relations do not fit
_START_SECONDS = 0.7  # imports and the end of the process
_SIZES = (50_000, 450_000)  # edges of the builds that are timed
_SPARSE = 4  # edges to an id in them
_TOUCHES = 6  # places of an edge that lie anywhere in a table: each end is told apart, joined and counted
_SLOT_BYTES = 32  # of an id in those tables
_FAR = 1 << 28  # bytes of a table that no cache holds


@dataclass(frozen=True)
class Expected:
    """Distinct ids, bytes of disk and of memory at most, and seconds from start to end of the process."""

    ids: int
    disk_bytes: int
    memory_bytes: int
    seconds: float


def expect_build(config: GraphConfig, files: dict[str, Files], plan: Plan) -> Expected:
    """Of a full build of these files, after `plan`."""
    ids, ends = _counted(config, files, plan.edges)
    return expect_size(config, ids, ends, plan.edges, plan.buckets)


def expect_size(
    config: GraphConfig, ids: Mapping[str, int], ends: Mapping[str, int], edges: int, buckets: int
) -> Expected:
    """Of a full build of so many edges between so many ids of each type, which are on so many ends of relations."""
    count, threads = sum(ids.values()), config.threads or cpu_count()
    bits = [
        max((ids[r.side(side).type] // config.partitions_of(r.side(side).type)).bit_length() for r in config.relations)
        for side in Side
    ]
    relations = sum(ends.values()) // len(Side)
    weighted = any(relation.weight for relation in config.relations)
    key = _KEY_BYTES + weighted * _UNITS_BYTES
    edge = sum(narrowest(b).itemsize for b in [*bits, relations.bit_length()]) + weighted * _WEIGHT_BYTES
    flags = sum(number * ids[type] for type, number in ends.items())
    in_files = flags * (1 + config.holds_out) > config.memory_bytes // FLAGS_SHARE
    in_hand = min(threads, buckets) * (edges // buckets)
    reading = threads * _THREAD_BYTES + count * _MAP_BYTES
    writing = in_hand * (MEMORY_PER_WEIGHTED_EDGE if weighted else MEMORY_PER_EDGE) + count * _COUNT_BYTES
    return Expected(
        ids=count,
        # Keys leave bucket by bucket before edges come, so both are never there in full; files of ends stay to the end.
        disk_bytes=edges * max(key, edge + in_files * len(Side) * _END_BYTES)
        + count * _ID_BYTES
        + len(SPLITS) * buckets * FILE_BYTES,
        memory_bytes=min(config.memory_bytes, _BASE_BYTES + max(reading, writing)),
        seconds=_START_SECONDS + _build_seconds(edges, count, threads),
    )


def _counted(config: GraphConfig, files: dict[str, Files], edges: int) -> tuple[dict[str, int], Counter[str]]:
    """About how many ids each type has, conditions aside, and on how many ends of relations it is."""
    columns: dict[str, set[tuple[str, str]]] = {type: set() for type in config.entities}
    for relation in config.relations:
        for end in relation.sides.values():
            columns[end.type] |= {(source, end.column) for source in relation.sources}
    engine = Engine(None, config.memory_bytes, config.threads or cpu_count())
    try:
        ids = {type: _distinct(engine, files, found) for type, found in columns.items()}
    finally:
        engine.close()
    declared = [relation for relation in config.relations if not relation.relation_column]
    named = [one.config for one in relations_of_columns(config, files)] if len(declared) < len(config.relations) else []
    ends = Counter(end.type for relation in (*declared, *named) for end in relation.sides.values())
    guessed = int(edges * _IDS_PER_EDGE)
    return {type: guessed if one is None else one for type, one in ids.items()}, ends


def _distinct(engine: Engine, files: dict[str, Files], columns: set[tuple[str, str]]) -> int | None:
    """About how many values columns of sources have together; None where not all of them are of Parquet files."""
    parts = []
    for source, column in sorted(columns):
        paths = files.get(source, {})
        if not paths or any(path.suffix != ".parquet" or column in keys for path, keys in paths.items()):
            return None
        parts.append(f"SELECT CAST({quoted(column)} AS VARCHAR) AS id FROM read_parquet({file_list(paths)})")
    return int(engine.row(f"SELECT approx_count_distinct(id) FROM ({' UNION ALL '.join(parts)})")[0])


def _build_seconds(edges: int, ids: int, threads: int) -> float:
    """A small build is timed at two sizes; to that comes what memory takes longer than the caches that sufficed it."""
    with tempfile.TemporaryDirectory(prefix="transra-plan-") as scratch:
        few = _timed(Path(scratch) / "few", _SIZES[0], threads)
        if edges <= _SIZES[0]:
            return few
        many = _timed(Path(scratch) / "many", _SIZES[1], threads)
    per_edge = max(many - few, 0.0) / (_SIZES[1] - _SIZES[0])
    far = _gather_seconds(min(ids * _SLOT_BYTES, _FAR)) - _gather_seconds(_SIZES[1] // _SPARSE * _SLOT_BYTES)
    return few + (edges - _SIZES[0]) * (per_edge + _TOUCHES * max(far, 0.0) / threads)


def _timed(directory: Path, edges: int, threads: int) -> float:
    """Seconds of a build of so many edges between numbers."""
    generator, graph = np.random.default_rng(0), directory / "graph"
    graph.mkdir(parents=True)
    ends = generator.integers(0, edges // _SPARSE // 2, (2, edges))
    pq.write_table(pa.table({"user": ends[0], "item": ends[1]}), directory / "log.parquet")
    config = GraphConfig.model_validate(_config(threads))
    begun = time.perf_counter()
    build.build_graph(config, directory, graph, lambda step, done: None, None, {}, None)
    return time.perf_counter() - begun


def _gather_seconds(bytes: int) -> float:
    """Of fetching a number from anywhere in a table of so many bytes."""
    table = np.zeros(max(bytes // 8, 1), np.int64)
    table[:] = 1
    at = np.random.default_rng(0).integers(0, len(table), 1 << 20)
    begun = time.perf_counter()
    table.take(at)
    return (time.perf_counter() - begun) / len(at)


def _config(threads: int) -> dict[str, Any]:
    sides = {"lhs": {"type": "user", "column": "user"}, "rhs": {"type": "item", "column": "item"}}
    return {
        "partitions": 2,
        "threads": threads,
        "sources": {"log": {"path": "log.parquet"}},
        "entities": {"user": {}, "item": {}},
        "relations": [{"name": "r", "source": "log", **sides}],
    }
