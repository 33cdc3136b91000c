"""The published run, opened to be asked about: its vectors beside its graph."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError, DataError
from artifacts.formats.graph import EntityType, Graph, load_graph
from artifacts.pseudonyms import pseudonym
from artifacts.section import did_you_mean
from partitioning import id_key
from pipeline.running.status import published_vectors
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run


@dataclass(frozen=True)
class Published:
    """A published run. Rows are those of the export; ids are as the graph has them, pseudonyms where it has such."""

    run: Run
    embeddings: Embeddings
    key: bytes | None

    @classmethod
    def of(cls, context: Context) -> "Published":
        """Raises ConfigError where nothing is published, DataError for a run that is not what its records say."""
        embeddings = published_vectors(context)
        run = context.workspace.find(embeddings.path.parents[1].name)
        assert run is not None
        return cls(run, embeddings, id_key(context.config.graph))

    @cached_property
    def graph(self) -> Graph:
        return load_graph(self.graph_dir)

    @property
    def graph_dir(self) -> Path:
        return self.run.directory("partition")

    def row(self, type: str, id: str) -> int:
        """The row of an entity. Raises ConfigError for an unknown type, DataError for an unknown id."""
        if type not in self.embeddings.types:
            raise ConfigError(f"unknown entity type '{type}'{did_you_mean(type, list(self.embeddings.types))}")
        found = self._found(type, id)
        if found is None:
            raise DataError(f"run {self.run.id}: {self.embeddings.why_unknown(type, id, self._names(id))}")
        return found

    def knows(self, type: str, id: str) -> bool:
        """Whether a type has an entity with a vector."""
        return self._found(type, id) is not None

    def _found(self, type: str, id: str) -> int | None:
        return next((int(row) for row in self.embeddings.rows(type, self._names(id)) if row >= 0), None)

    def _names(self, id: str) -> list[str]:
        return [pseudonym(id, self.key), id] if self.key else [id]  # what an answer names is a pseudonym by now


def place_of(entity_type: EntityType, row: int) -> tuple[int, int]:
    """Partition and offset of an export's row: partition 0's entities come first, in the order of their offsets."""
    for partition, count in enumerate(entity_type.counts):
        if row < count:
            return partition, row
        row -= count
    raise IndexError(f"no such row of {entity_type.name}")


def row_of(entity_type: EntityType, partition: int, offset: int) -> int:
    """The export's row of an offset in a partition."""
    return sum(entity_type.counts[:partition]) + offset
