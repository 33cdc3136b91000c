"""What a build will need, from the sizes of its inputs: to refuse at once what cannot end well."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import ResourceError
from artifacts.formats.graph import SPLITS, Side
from artifacts.machine.resources import GIB, cpu_count, require_disk, require_memory
from artifacts.sources.source_files import Files
from partitioning.config.sections import LEAST_MEMORY, Format, GraphConfig, SourceConfig
from partitioning.sources.compressed import plain
from partitioning.sources.files import COMPRESSED, check_file, damaged, file_format
from partitioning.sources.formats.frames import Frames
from partitioning.sources.formats.postgres import table_size
from partitioning.sources.formats.sqlite import count_rows

_SAMPLE_BYTES = 1 << 16
_FEW_BUCKETS = 16_384  # that any graph may have, whether or not it has as many edges
FILE_BYTES = 4096  # of an empty bucket's file
# Bytes on disk for each edge, at most: 9 in its bucket while keys, 8 bytes each, leave the spill bucket by bucket, and
# 40 for DuckDB's spill and the entity files, supposing an id for two edges.
_DISK_PER_EDGE = 9 + 1 + 40
_DISK_PER_PSEUDONYMS = 2 * 80  # for each row, of both ids
_DISK_PER_LEDGER_EDGE = 16 + 8  # distinct ends that stay, and exact weights
# Of a bucket, while it is sorted and written: keys and what is unpacked from them; also weights and an order of both.
MEMORY_PER_EDGE = 6 * 8
MEMORY_PER_WEIGHTED_EDGE = 11 * 8
_MEMORY_PER_CAPPED_EDGE = 10 * 8
_MEMORY_PER_END = 2 * 8  # of the edges of a partition, where its distinct ends are counted in files


@dataclass(frozen=True)
class Plan:
    """Estimates: rows and bytes of the sources, edges, the bytes of disk and memory that a build needs, and buckets."""

    rows: int
    input_bytes: int
    edges: int
    disk_bytes: int
    memory_bytes: int
    buckets: int = 1

    def require(self, config: GraphConfig, destination: Path) -> None:
        """Raises ResourceError when the disk, the machine or graph.memory_limit is too small."""
        if self.buckets > max(_FEW_BUCKETS, self.edges):
            raise ResourceError(
                f"graph.partitions: {config.partitions} make {self.buckets:,} buckets of about {self.edges:,} edges, "
                f"with a file for each and split; lower it"
            )
        limit = config.memory_bytes
        if limit < self.memory_bytes:
            raise ResourceError(
                f"graph.memory_limit: {config.memory_limit} is too little, this graph needs about "
                f"{self.memory_bytes / GIB:.1f} GiB; raise it or graph.partitions"
            )
        require_memory(limit, f"graph.memory_limit {config.memory_limit}", "lower graph.memory_limit")
        require_disk(destination, self.disk_bytes, "partitioning")


def plan_graph(config: GraphConfig, files_by_source: dict[str, Files], frames: Frames) -> Plan:
    """Estimates a build that reads these files and tables. Raises DataError for broken files."""
    rows, size, edges, staged = 0, 0, 0, 0
    for name, files in files_by_source.items():
        if not files:
            continue
        format = file_format(name, config.sources[name], files)
        for path in files:
            check_file(path, format)
        found = sum(_rows(name, config.sources[name], format, path) for path in files)
        rows += found
        size += sum(path.stat().st_size for path in files)
        staged += 0 if format == "parquet" else sum(map(_plain_bytes, files))
        staged += found * _DISK_PER_PSEUDONYMS * (config.ids is not None)
        edges += found * _relations_on(config, name)
    for name, source in config.sources.items():
        if source.postgres and name not in frames:
            found, bytes = table_size(name, source.postgres)
            rows += found
            size += bytes
            staged += bytes + found * _DISK_PER_PSEUDONYMS * (config.ids is not None)
            edges += found * _relations_on(config, name)
    for name, table in frames.items():
        rows += table.num_rows
        size += table.nbytes
        staged += table.nbytes + table.num_rows * _DISK_PER_PSEUDONYMS * (config.ids is not None)
        edges += table.num_rows * _relations_on(config, name)
    buckets = _most_partitions(config, Side.LHS) * _most_partitions(config, Side.RHS)
    at_once = min(config.threads or cpu_count(), buckets)
    weighted = any(relation.weight for relation in config.relations)
    bucket = (edges // buckets) * (MEMORY_PER_WEIGHTED_EDGE if weighted else MEMORY_PER_EDGE)
    capped = _capped_edges(config, edges) * _MEMORY_PER_CAPPED_EDGE
    ends = max(_counted_at_once(config, edges, side) for side in Side) * _MEMORY_PER_END
    return Plan(
        rows=rows,
        input_bytes=size,
        edges=edges,
        disk_bytes=edges * (_DISK_PER_EDGE + config.append_only * _DISK_PER_LEDGER_EDGE)
        + staged
        + len(SPLITS) * buckets * FILE_BYTES,
        buckets=buckets,
        memory_bytes=LEAST_MEMORY + max(at_once * bucket, ends, capped),
    )


def threads_within(config: GraphConfig, largest: int, threads: int) -> int:
    """How many buckets can be made at once, the largest of which has so many edges: the plan had estimates only.

    Raises ResourceError when graph.memory_limit is too small for one.
    """
    weighted = any(relation.weight for relation in config.relations)
    bucket = max(largest, 1) * (MEMORY_PER_WEIGHTED_EDGE if weighted else MEMORY_PER_EDGE)
    fitting = (config.memory_bytes - LEAST_MEMORY) // bucket
    if fitting < 1:
        raise ResourceError(
            f"graph.memory_limit: {config.memory_limit} is too little for a bucket of {largest:,} edges, which needs "
            f"about {(LEAST_MEMORY + bucket) / GIB:.1f} GiB; raise it or graph.partitions"
        )
    return min(threads, fitting)


def _most_partitions(config: GraphConfig, side: Side) -> int:
    return max(config.partitions_of(relation.side(side).type) for relation in config.relations)


def _counted_at_once(config: GraphConfig, edges: int, side: Side) -> int:
    """Edges of the partitions of a side whose distinct ends are counted at once."""
    partitions = _most_partitions(config, side)
    return min(config.threads or cpu_count(), partitions) * (edges // partitions)


def _capped_edges(config: GraphConfig, edges: int) -> int:
    """Edges in a row or column of buckets, which a hub cap holds at once; 0 without a cap."""
    capped = {side for relation in config.relations for side, end in relation.sides.items() if end.max_degree}
    return max((edges // _most_partitions(config, side) for side in capped), default=0)


def _relations_on(config: GraphConfig, source: str) -> int:
    """How many edges a row becomes at most, supposing that relations with a `where` share the rows between them."""
    conditions = [relation.where for relation in config.relations if source in relation.sources]
    return sum(condition is None for condition in conditions) + any(condition is not None for condition in conditions)


def _rows(name: str, source: SourceConfig, format: Format, path: Path) -> int:
    if format == "sqlite":
        return count_rows(name, source, path)
    return _parquet_rows(path) if format == "parquet" else _text_rows(path)


def _parquet_rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def _text_rows(path: Path) -> int:
    """Rows of a text file: from the length of its first lines; all are counted where it is unpacked anyway."""
    if path.suffix.lower() in COMPRESSED:
        return plain(path).lines + 1
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    return _plain_bytes(path) * sample.count(b"\n") // max(len(sample), 1) + 1


def _plain_bytes(path: Path) -> int:
    return plain(path).bytes if path.suffix.lower() in COMPRESSED else path.stat().st_size
