"""What an executor does with edges: it spills those of some buckets, makes a bucket's files, counts a partition."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from artifacts.files.publish import sync
from artifacts.formats.bucket_file import BucketFile
from artifacts.formats.graph import SPLITS, Bucket, Side, bucket_path
from partitioning.buckets.bucket_edges import WrongWeight
from partitioning.buckets.buckets import make_edge_paths, write_splits
from partitioning.buckets.counts import FLAGS_SHARE, Counts, TypeCounts
from partitioning.config.sections import GraphConfig
from partitioning.edges.key import Indices
from partitioning.edges.query import edge_batch
from partitioning.edges.spill import EdgeSpill
from partitioning.edges.stream import EdgeBatch, spill_edges
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation, summed
from partitioning.events.weights import INVALID
from partitioning.ledger.history import NoHistory
from partitioning.spark.attempts import begin, scratch
from partitioning.spark.failures import travelling

SPILLED = "attempt string, events array<bigint>, heaviest array<bigint>, first bigint, last bigint, wrong int"
_CHUNK = 1 << 20  # edges of a bucket that are counted at a time


class MadeBucket(NamedTuple):
    """Edges (relations, splits) of a bucket, edges left out since an earlier split has them, and the index of a
    relation with a sum of weights that cannot be kept; None where all can."""

    edges: Indices
    seen: int
    wrong: int | None


class CountedPartition(NamedTuple):
    """Distinct entities (relations,) on each side that the partition has, and its entities by type."""

    distinct: dict[Side, Indices]
    types: dict[str, TypeCounts]


@dataclass(frozen=True)
class EdgeTasks:
    """Work on the edges of a graph; travels to executors. `spill` lies in a directory that all of them share."""

    config: GraphConfig
    relations: list[NamedRelation]
    spill: EdgeSpill

    def put(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Spills all edges of some buckets, of the columns of `edge_batch`; gives a row of SPILLED."""
        with travelling():
            attempt, wrong = begin(self.spill.directory), [-1]
            aside = replace(self.spill, directory=attempt)
            edges = self._edges(batches, wrong)
            spilled = spill_edges(aside, edges, len(self.relations), lambda events: None)
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([str(attempt)]),
                pa.array([spilled.events.tolist()], pa.list_(pa.int64())),
                pa.array([spilled.heaviest.tolist()], pa.list_(pa.int64())),
                pa.array([spilled.window.first], pa.int64()),
                pa.array([spilled.window.last], pa.int64()),
                pa.array(wrong, pa.int32()),
            ],
            ["attempt", "events", "heaviest", "first", "last", "wrong"],
        )

    def _edges(self, batches: Iterator[pa.RecordBatch], wrong: list[int]) -> Iterator[EdgeBatch]:
        """The edges of all batches; the index of a relation with a wrong weight is left in `wrong`."""
        for batch in (batch for batch in batches if len(batch)):
            found = edge_batch(self.config, self.relations, self.spill.grid, batch)
            if found.units is not None and (invalid := found.units == INVALID).any():
                wrong[0] = int(self.spill.grid.layout.relation(found.keys[invalid])[0])
            yield found

    @travelling()
    def make(self, destination: Path, bucket: Bucket) -> MadeBucket:
        """Writes the files of a bucket, which are the same bytes whoever writes them."""
        attempt, seen = begin(self.spill.directory), 0
        make_edge_paths(attempt)
        edges = np.zeros((len(self.relations), len(SPLITS)), np.int64)
        nothing, layout = NoHistory(len(self.relations)), self.spill.grid.layout
        try:
            written = write_splits(self.spill, nothing, attempt, self.config.seed, summed(self.relations), bucket)
            for split, one in enumerate(written):
                edges[:, split] = np.bincount(layout.relation(one.keys), minlength=len(self.relations))
                seen += one.seen
        except WrongWeight as error:
            return MadeBucket(edges, seen, error.relation)
        for name in SPLITS:
            sync(bucket_path(attempt, name, bucket))
            os.replace(bucket_path(attempt, name, bucket), bucket_path(destination, name, bucket))
        return MadeBucket(edges, seen, None)

    @travelling()
    def count(self, destination: Path, entities: dict[str, EntityMap], part: int) -> CountedPartition:
        """Counts the entities of a partition, from the files of the row and the column of buckets that it has."""
        grid, nothing = self.spill.grid, NoHistory(len(self.relations))
        with scratch() as ends:
            flags = self.config.memory_bytes // FLAGS_SHARE
            counts = Counts(Path(ends), grid, nothing, self.relations, entities, flags, self.config.holds_out)
            sides = [side for side in Side if part < grid.partitions(side)]
            for side in sides:
                for bucket in grid.of_partition(side, part):
                    for split, name in enumerate(SPLITS):
                        _add_side(counts, side, split, part, bucket_path(destination, name, bucket))
            return CountedPartition(
                {side: counts.distinct(side, part) for side in sides},
                {type: counts.type_counts(type, [part]) for type in entities},
            )


def _add_side(counts: Counts, side: Side, split: int, part: int, path: Path) -> None:
    with BucketFile(path) as file:
        for begin_at in range(0, len(file), _CHUNK):
            edges = file.columns(begin_at, min(begin_at + _CHUNK, len(file)))
            counts.add_side(side, split, part, edges.rel, side.pick(edges.lhs, edges.rhs))
