"""What an executor does with one file of a source: DuckDB reads it, as it would on one machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pyarrow as pa

from artifacts.errors import TransraError
from artifacts.expressions.engine import Engine, NoValue, text
from artifacts.sources.source_files import Files
from partitioning.config.sections import GraphConfig
from partitioning.edges.query import event_columns
from partitioning.events.events import Events, events_of
from partitioning.events.failing import failing_row
from partitioning.events.weights import latest_sql
from partitioning.sources.table import Source, open_sources
from partitioning.spark.attempts import scratch
from partitioning.spark.failures import TaskFailure, travelling

_BATCH = 1 << 17
# The rows of events as Spark has them: `happened` is the time of every event, `time` that of training events,
# `listed` what `without` compares.
EVENT_ROWS = (
    "source int, declared int, relation string, lhs string, rhs string, split int, happened bigint, time bigint, "
    "moment bigint, units bigint, listed string"
)

Find: TypeAlias = Callable[[Engine, Source], TransraError | None]


class Surveyed(NamedTuple):
    """Of one file: rows, the first and last time and how many rows have none, and the latest event of each relation
    with a half-life; times in epoch seconds."""

    source: str
    rows: int
    low: int | None
    high: int | None
    missing: int
    latest: list[int | None]


@dataclass(frozen=True)
class SourceFiles:
    """The files of the sources of a graph, and what they are read with; travels to executors.

    `types` are those of the columns, found for all files of a source.
    """

    config: GraphConfig
    files: list[tuple[str, Files]]  # the source of each, and the file
    types: dict[str, dict[str, str]]

    @contextmanager
    def open(self, index: int) -> Iterator[tuple[Engine, Source]]:
        """One of the files as a source of its own."""
        name, files = self.files[index]
        others: dict[str, Files] = {other: {} for other in self.config.sources}
        with scratch() as spill:
            engine = Engine(Path(spill), self.config.memory_bytes, 1)
            sources: dict[str, Source] = {}
            try:
                engine.lock(files, [Path(spill)])
                sources |= open_sources(engine, self.config, {**others, name: files}, {}, {}, agreed=self.types)
                yield engine, sources[name]
            except NoValue as error:
                raise failing_row(engine, self.config, sources, error) from error
            finally:
                engine.close()

    def parts(self, source: Source, reference: int | None) -> Iterator[Events]:
        """What each relation makes of the rows of a file."""
        for index, relation in enumerate(self.config.relations):
            if source.name in relation.sources:
                yield events_of(self.config, index, relation, source, reference)

    @travelling()
    def survey(self, index: int) -> Surveyed:
        """Looks at the times of a file."""
        with self.open(index) as (engine, source):
            time = source.time or "CAST(NULL AS BIGINT)"
            rows, low, high, timed = engine.row(
                f"SELECT count(*), min({time}), max({time}), count({time}) FROM {source.table}"
            )
            relations = [one for one in self.config.relations if one.half_life_days and source.name in one.sources]
            latest = [engine.row(latest_sql(relation, source))[0] for relation in relations]
            return Surveyed(source.name, rows, low, high, rows - timed if source.time else 0, latest)

    @travelling()
    def find(self, find: Find, index: int) -> str | None:
        """What `find` finds wrong with a file, as the text of a TaskFailure; None where that is nothing."""
        with self.open(index) as (engine, source):
            error = find(engine, source)
        return str(TaskFailure(error)) if error else None


@dataclass(frozen=True)
class EventRows:
    """Reads the events of files, by their positions, as EVENT_ROWS."""

    files: SourceFiles
    reference: int | None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with travelling():
            for batch in batches:
                for index in batch.column(0).to_pylist():
                    yield from self._rows(index)

    def _rows(self, index: int) -> Iterator[pa.RecordBatch]:
        with self.files.open(index) as (engine, source):
            at = list(self.files.config.sources).index(source.name)
            for events in self.files.parts(source, self.reference):
                yield from engine.batches(_event_sql(at, events), _BATCH)


def _event_sql(source: int, events: Events) -> str:
    column, table, without = events.relation.relation_column, events.source.table, events.relation.without
    listed = listed_value(without.columns) if without else "CAST(NULL AS VARCHAR)"
    happened = f"CAST({events.source.time or 'NULL'} AS BIGINT)"
    return (
        f"SELECT {source}::INTEGER AS source, {events.declared}::INTEGER AS declared, relation, lhs, rhs, "
        "split::INTEGER AS split, happened, time, moment, units, listed "
        f"FROM (SELECT {text(column) if column else repr('')} AS relation, {event_columns(events)}, "
        f"{happened} AS happened, {listed} AS listed FROM {table} WHERE {events.condition})"
    )


def listed_value(columns: tuple[str, ...]) -> str:
    """SQL of one text for the values of columns as text: another one for all other values, and none is a value, too."""
    return " || ".join(f"coalesce(CAST(length({text(c)}) AS VARCHAR) || ':' || {text(c)}, '~')" for c in columns)


@dataclass(frozen=True)
class ListRows:
    """What a query gives of each of some files, by their positions among these."""

    files: SourceFiles
    indexes: list[int]
    query: Callable[[Engine, Source], str]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with travelling():
            for batch in batches:
                for position in batch.column(0).to_pylist():
                    with self.files.open(self.indexes[position]) as (engine, source):
                        yield from engine.batches(self.query(engine, source), _BATCH)
