"""Slots that the log does not have (`of`, `via`): what a relation of the graph says of another slot's ids.

Edges of training alone are read, those of the run whose export comes first. Of several attributes of an id, one counts,
and always the same: that of the least row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError
from artifacts.formats.bucket_file import BucketFile
from artifacts.formats.graph import EntityType, Graph, Side, bucket_path, load_graph
from artifacts.section import did_you_mean
from ranker.config.sections import RankerConfig
from ranker.data.ids.exports import Export
from ranker.data.ids.join import ABSENT
from ranker.data.log.block import LogBlock
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.schemas import is_list

EDGES = 1 << 20  # read at a time
TRAIN = "train"

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Attributes:
    """`rows` (N,) are, by derived slot, the row of the attribute of each of the N entities of the type of its `of`."""

    config: RankerConfig
    export: Embeddings
    forgotten: Forgotten
    rows: Mapping[str, Rows]

    @classmethod
    def of(cls, config: RankerConfig, exports: Mapping[str, Export], forgotten: Forgotten) -> "Attributes | None":
        """Those of the first export's graph; None where no slot asks for any.

        Raises ConfigError for a relation that is not in the graph or leads elsewhere, and without an export.
        """
        if not config.derived_slots:
            return None
        first = next(iter(exports.values()), None)
        if first is None or first.graph is None:
            raise ConfigError(f"ranker.slots.{min(config.derived_slots)}.via: needs a run with a graph and vectors")
        graph, lines, rows = load_graph(first.graph), [], {}
        for name, slot in config.derived_slots.items():
            kinds = str(config.slots[str(slot.of)].type), str(slot.type)
            try:
                rows[name] = attribute_rows(first.graph, graph, str(slot.via), *kinds)
            except ConfigError as error:
                lines += [f"ranker.slots.{name}.via: {line}" for line in error.lines]
        if lines:
            raise ConfigError(*lines)
        return cls(config, Embeddings(first.path), forgotten, rows)

    def joined(self, block: LogBlock) -> LogBlock:
        """The rows of a block with a column for each derived slot that has none and whose `of` is among its columns.

        It is as long as the other's lists are: null where an id has no attribute, or is to be forgotten.
        """
        table = block.table
        for name in self.rows:
            source = str(self.config.slots[name].of)
            if source in table.column_names and name not in table.column_names:
                table = table.append_column(name, self._column(block, name, source))
        return LogBlock(block.part, block.first, table, block.kept)

    def identity(self) -> list[Any]:
        """What tells these from others, as JSON."""
        rows = {name: sha256(found.tobytes()).hexdigest() for name, found in self.rows.items()}
        return [self.export.content, rows]

    def _column(self, block: LogBlock, name: str, source: str) -> pa.Array:
        column = block.column(source)
        if pa.types.is_null(column.type):
            return column
        if not is_list(column.type):
            return self._attributes(block, name, source, column)
        lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        values = self._attributes(block, name, source, column.flatten())
        return pa.LargeListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int64()), values)

    def _attributes(self, block: LogBlock, name: str, source: str, values: pa.Array) -> pa.Array:
        of, type = str(self.config.slots[source].type), str(self.config.slots[name].type)
        ids = self.forgotten.without(of, block.ids(source, values)).dictionary_encode()
        at = self.export.rows(of, ids.dictionary)
        found = np.append(self.rows[name], ABSENT)[at]  # an unknown id is at the end
        return self.export.ids(type).take(pa.array(found, mask=found == ABSENT)).take(ids.indices)


@dataclass(frozen=True)
class Unknown:
    """Stands for the attributes before there are vectors, for those who ask about times: no id has any."""

    config: RankerConfig

    def joined(self, block: LogBlock) -> LogBlock:
        """The rows of a block with a column of nulls for each derived slot."""
        table = block.table
        for name in self.config.derived_slots:
            table = table.append_column(name, pa.nulls(len(table)))
        return LogBlock(block.part, block.first, table, block.kept)

    def identity(self) -> list[Any]:
        return []


def attribute_rows(directory: Path, graph: Graph, via: str, of: str, type: str) -> Rows:
    """The row of the attribute of each entity of type `of`, (N,), ABSENT where the relation `via` says none.

    Raises ConfigError where the graph has no such relation between the two types.
    """
    index, side = _relation(graph, via, of, type)
    entities, attributes = graph.entity_type(of), graph.entity_type(type)
    least = np.full(entities.count, np.iinfo(np.int64).max)
    for bucket in graph.buckets():
        here, there = side.pick(bucket.lhs, bucket.rhs), side.pick(bucket.rhs, bucket.lhs)
        with BucketFile(bucket_path(directory, TRAIN, bucket)) as file:
            for begin in range(0, len(file), EDGES):
                edges = file.columns(begin, begin + EDGES)
                said = edges.rel == index
                ends = side.pick(edges.lhs, edges.rhs)[said], side.pick(edges.rhs, edges.lhs)[said]
                np.minimum.at(least, _first_row(entities, here) + ends[0], _first_row(attributes, there) + ends[1])
    return np.where(least == np.iinfo(np.int64).max, ABSENT, least)


def _relation(graph: Graph, via: str, of: str, type: str) -> tuple[int, Side]:
    """The place of the relation that leads from one type to another, and the side of the one."""
    for side in Side:
        for index, relation in enumerate(graph.relations):
            if (relation.name, relation.type(side), relation.type(side.other)) == (via, of, type):
                return index, side
    names = [relation.name for relation in graph.relations]
    if via not in names:
        raise ConfigError(f"'{via}' is not a relation of the graph{did_you_mean(via, names)}")
    relation = graph.relations[names.index(via)]
    raise ConfigError(f"'{via}' leads from '{relation.lhs}' to '{relation.rhs}', expected from '{of}' to '{type}'")


def _first_row(entity_type: EntityType, part: int) -> int:
    """Rows of an export are partition 0's entities, then partition 1's, and so on."""
    return sum(entity_type.counts[: entity_type.partition_in(part)])
