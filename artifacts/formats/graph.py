"""The partitioned graph on disk: PyTorch-BigGraph's own layout, plus what its readers ignore.

    graph/
      graph.json                          entity types, relations and counts (this module)
      statistics.json                     degrees, bucket sizes, cold entities
      entity_count_<type>_<part>.txt      PBG's entity path is graph/ itself
      entity_names_<type>_<part>.json     only with `graph.write_names`; PBG's TSV export needs them
      dynamic_rel_count.txt  dynamic_rel_names.json
      entities/<type>/part-<part>.parquet one column `id` (string), row i is the entity at offset i
      labels/<type>/part-<part>.parquet   of types with a `label`: one column `label` (string), in the same rows; null
                                          where an entity has none
      edges/<split>/edges_<i>_<j>.h5      format_version 1: lhs, rhs, rel (int64) and weight (float32) where declared
      ledger/                             with append-only sources: what counting on needs (partitioning/ledger)

`<split>` is train, valid or test; every bucket file exists, also an empty one.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from artifacts.errors import DataError
from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json

FORMAT = 1
SPLITS = ("train", "valid", "test")
TYPE_NAME_PATTERN = r"^[A-Za-z0-9_-]+$"

T = TypeVar("T")


class Side(str, Enum):
    """An end of an edge: the head on the left-hand side, the tail on the right-hand side (PBG's words)."""

    LHS = "lhs"
    RHS = "rhs"

    __str__ = str.__str__

    def pick(self, lhs: T, rhs: T) -> T:
        """The one that belongs to this side."""
        return lhs if self is Side.LHS else rhs

    @property
    def other(self) -> "Side":
        """The opposite side."""
        return self.pick(Side.RHS, Side.LHS)


class Bucket(NamedTuple):
    """The edges between a partition of heads and a partition of tails."""

    lhs: int
    rhs: int


@dataclass(frozen=True)
class EntityType:
    """A type of entity and the number of entities in each of its partitions."""

    name: str
    counts: tuple[int, ...]

    @property
    def partitions(self) -> int:
        return len(self.counts)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def partition_in(self, part: int) -> int:
        """Its partition in the buckets of a side's partition `part`: a type that is not split lies in partition 0."""
        return part if self.partitions > 1 else 0


@dataclass(frozen=True)
class Relation:
    """A relation; its position in `Graph.relations` is the `rel` of the edge files. `edges` counts edges by split."""

    name: str
    lhs: str
    rhs: str
    domain: str
    edges: dict[str, int]
    weighted: bool = False

    def type(self, side: Side) -> str:
        """The entity type on a side."""
        return side.pick(self.lhs, self.rhs)


@dataclass(frozen=True)
class Graph:
    """What graph.json says. `consent` repeats for each offsite relation where its consent comes from."""

    entity_types: tuple[EntityType, ...]
    relations: tuple[Relation, ...]
    consent: dict[str, str]
    window: tuple[int | None, int | None]  # first and last training event, epoch seconds; None without time

    @property
    def partitions(self) -> int:
        """Partitions of the types that are split at all (all of them have the same number)."""
        return max(entity_type.partitions for entity_type in self.entity_types)

    def needs_consent(self, type: str) -> bool:
        """Whether ids of a type occur in rows that were used only of people who had agreed."""
        agreed = [relation for relation in self.relations if self.consent.get(relation.name, "").startswith("source ")]
        return any(type in (relation.lhs, relation.rhs) for relation in agreed)

    @property
    def entities(self) -> int:
        return sum(entity_type.count for entity_type in self.entity_types)

    def edges(self, split: str) -> int:
        return sum(relation.edges[split] for relation in self.relations)

    def entity_type(self, name: str) -> EntityType:
        for entity_type in self.entity_types:
            if entity_type.name == name:
                return entity_type
        known = ", ".join(entity_type.name for entity_type in self.entity_types)
        raise DataError(f"entity type '{name}' is not in the graph (known: {known})")

    def types_on(self, side: Side) -> list[EntityType]:
        """The entity type on a side of each relation (R,)."""
        return [self.entity_type(relation.type(side)) for relation in self.relations]

    def partitions_on(self, side: Side) -> int:
        """Number of partitions on a side: the most that any relation's type on that side has."""
        return max(entity_type.partitions for entity_type in self.types_on(side))

    def buckets(self) -> Iterator[Bucket]:
        """All buckets, row by row."""
        for lhs in range(self.partitions_on(Side.LHS)):
            for rhs in range(self.partitions_on(Side.RHS)):
                yield Bucket(lhs, rhs)


def save_graph(directory: Path, graph: Graph) -> None:
    write_json(directory / "graph.json", {"format": FORMAT, **asdict(graph)})


def load_graph(directory: Path) -> Graph:
    """Reads graph.json. Raises DataError when it is missing or of another format."""
    path, what = directory / "graph.json", "a partitioned graph"
    found = read_json(path, dict[str, Any], what).get("format")
    if found != FORMAT:
        raise DataError(f"{path}: format {found}, expected {FORMAT}")
    graph = read_json(path, Graph, what)
    names = {entity_type.name for entity_type in graph.entity_types}
    if strange := {relation.type(side) for relation in graph.relations for side in Side} - names:
        raise DataError(f"{path}: expected {what} (entity type '{min(strange)}' of a relation is not among its types)")
    return graph


def edge_path(directory: Path, split: str) -> Path:
    """The directory of a split's bucket files: PBG's edge path."""
    return directory / "edges" / split


def bucket_path(directory: Path, split: str, bucket: Bucket) -> Path:
    """Where the graph in `directory` keeps a bucket of a split."""
    return edge_path(directory, split) / f"edges_{bucket.lhs}_{bucket.rhs}.h5"


def ids_path(directory: Path, entity_type: str, partition: int) -> Path:
    return directory / "entities" / entity_type / f"part-{partition}.parquet"


def labels_path(directory: Path, entity_type: str, partition: int) -> Path:
    return directory / "labels" / entity_type / f"part-{partition}.parquet"
