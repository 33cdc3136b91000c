"""DuckDB as the engine that reads events (see `event_reader`)."""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from artifacts.expressions.engine import Engine, NoValue, quoted
from partitioning.config.data_checks import CheckConfig
from partitioning.config.sections import GraphConfig, memory_bytes
from partitioning.edges.grid import Grid
from partitioning.edges.key import Keys
from partitioning.edges.query import edge_batches
from partitioning.edges.stream import EdgeBatch
from partitioning.entities.entity_map import EntityMap
from partitioning.entities.forgotten import find_forgotten, forgotten_counts, refuse_mistaken, share_ids
from partitioning.entities.id_table import IdTable, add_ids, map_ids
from partitioning.events.events import Events, declared_events
from partitioning.events.failing import failing_row
from partitioning.events.forget import read_forgotten
from partitioning.events.relations import named_relations
from partitioning.events.times import check_times
from partitioning.events.totals import ReadTotals
from partitioning.ledger.continuation import Continuation
from partitioning.sources.measures import measure
from partitioning.sources.pseudonyms import forget_key, know_key
from partitioning.sources.table import Source, open_sources

_BATCH = 1 << 20


@contextmanager
def open_duckdb(
    config: GraphConfig, continuation: Continuation, spill: Path, threads: int, checks: Sequence[CheckConfig] = ()
) -> Iterator["DuckDBReader"]:
    """See `event_reader.OpenEvents`. `checks` are measured, too."""
    engine = Engine(spill / "duckdb", memory_bytes(config.memory_limit), threads)
    know_key(engine, config)
    engine.lock((path for files in continuation.files.values() for path in files), _directories(continuation, spill))
    sources: dict[str, Source] = {}
    try:
        sources |= open_sources(
            engine,
            continuation.config,
            continuation.files,
            continuation.frames,
            continuation.counted.types,
            checks=checks,
        )
        forget_key(engine)
        yield DuckDBReader(engine, config, continuation, sources, checks)
    except NoValue as error:
        raise failing_row(engine, continuation.config, sources, error) from error
    finally:
        engine.close()


def _directories(continuation: Continuation, spill: Path) -> list[Path]:
    return [spill, *([continuation.previous] if continuation.previous else [])]


class DuckDBReader:
    """The `EventReader` of DuckDB."""

    def __init__(
        self,
        engine: Engine,
        config: GraphConfig,
        continuation: Continuation,
        sources: dict[str, Source],
        checks: Sequence[CheckConfig],
    ) -> None:
        counted = continuation.counted
        self._engine, self._config, self._continuation, self._sources = engine, config, continuation, sources
        self._measured = measure(engine, checks, self._sources, config.sources)
        forgets = read_forgotten(engine, config, self._sources)
        self._events = declared_events(engine, continuation.config, self._sources)
        check_times(engine, self._events)
        self._forgotten = self._match_forgotten() if forgets else {}
        self.relations = named_relations(engine, config, self._events, counted.relations)
        self._ids: dict[str, IdTable] = {}

    def _match_forgotten(self) -> dict[str, dict[str, int]]:
        """A list that was judged when a graph was built in full is not judged by the events of a night."""
        continuation = self._continuation
        find_forgotten(self._engine, self._config, self._events, continuation.previous)
        if continuation.counted_graph is None:
            shared = partial(share_ids, self._engine, self._events)
            refuse_mistaken(self._engine, self._config, self._sources, shared)
        return forgotten_counts(self._engine)

    def map_entities(self, type: str, hashed: bool) -> EntityMap:
        config, previous, counted = self._config, self._continuation.previous, self._continuation.counted_graph
        if counted:
            self._ids[type] = add_ids(self._engine, config, self._events, type, counted)
        else:
            self._ids[type] = map_ids(self._engine, config, self._events, type, previous, hashed)
        return self._ids[type].entities

    def ids(self, type: str) -> Generator[pa.RecordBatch, None, None]:
        return self._engine.batches(self._ids[type].ids, _BATCH)

    def hashes(self, type: str) -> Generator[Keys, None, None]:
        with closing(self._engine.batches(self._ids[type].hashes, _BATCH)) as batches:
            for batch in batches:
                yield np.from_dlpack(batch.column(0)).astype(np.uint64, copy=False)

    def edge_batches(self, grid: Grid) -> Iterator[EdgeBatch]:
        return edge_batches(self._engine, self._config, self._events, self.relations, self._ids, grid)

    def totals(self) -> ReadTotals:
        rows = {name: self._count(source.table, "true") for name, source in self._sources.items()}
        types = {name: source.types for name, source in self._sources.items()}
        return ReadTotals(rows, types, self._without_consent(), self._removed(), self._forgotten, self._measured)

    def _without_consent(self) -> dict[str, int]:
        """Also those that were counted before."""
        rows = Counter(self._continuation.counted.without_consent)
        for part in (part for part in self._events if part.consented):
            rows[self._config.relations[part.declared].label] += self._refused(part)
        return {relation.label: rows[relation.label] for relation in self._config.relations if relation.label in rows}

    def _removed(self) -> dict[str, dict[str, int]]:
        """Of the rows that were read now. An inverse has the same."""
        inverses = {relation.inverse for relation in self._config.relations}
        rows: dict[str, dict[str, int]] = {}
        for part in self._events:
            relation = self._config.relations[part.declared]
            if relation.without and relation.label not in inverses:
                selected = " AND ".join(part.selected) or "true"
                count = self._count(part.removed, selected) if part.removed else 0
                rows.setdefault(relation.label, {})[part.source.name] = count
        return rows

    def _refused(self, events: Events) -> int:
        """Rows that would be edges if all agreed."""
        assert events.consented
        people = [f"{quoted(id)} IS NOT NULL" for id in events.consented.ids]
        all = self._count(events.consented.before.table, " AND ".join((*events.selected, *people)))
        return all - self._count(events.source.table, events.condition)

    def _count(self, table: str, condition: str) -> int:
        return int(self._engine.row(f"SELECT count(*) FROM {table} WHERE {condition}")[0])
