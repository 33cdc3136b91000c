"""Events on Spark: the rows of every file that are edges, checked as on one machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark import StorageLevel
from pyspark.sql import functions as F

from artifacts.errors import ConfigError, TransraError
from artifacts.expressions.engine import Engine, literal, quoted
from artifacts.formats.graph import Side
from artifacts.moment import epoch_seconds
from artifacts.sources.source_files import Files
from partitioning.config.sections import ConsentConfig, GraphConfig
from partitioning.config.spark import FORMATS
from partitioning.edges.query import wrong_weight
from partitioning.events.consent import Answers, check_question
from partitioning.events.events import Events, check_relation
from partitioning.events.lookups import require_same_types
from partitioning.events.plausible import OddTime, odd_between, time_error
from partitioning.events.relations import in_order, is_name, wrong_name
from partitioning.events.totals import ReadTotals
from partitioning.events.weights import invalid_weight, latest_moment
from partitioning.ledger.continuation import Continuation
from partitioning.sources.diagnosis import missing_value
from partitioning.sources.files import file_format
from partitioning.sources.formats.parquet import filled
from partitioning.sources.table import Source, open_sources
from partitioning.spark.failures import carried
from partitioning.spark.files import EVENT_ROWS, EventRows, Find, SourceFiles
from partitioning.spark.forgetting import read_list
from partitioning.spark.lookups import Lookups
from partitioning.spark.session import each

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


class SparkEvents:
    """The events of a graph.

    Attributes:
        rows: a DataFrame of EVENT_ROWS
        relations: those of the graph
        forgotten: (type, id) of the ids to forget, types by position; None without a list
    """

    def __init__(self, session: SparkSession, config: GraphConfig, continuation: Continuation, spill: Path) -> None:
        """Raises ConfigError and DataError for input that is not as the config says."""
        self.config, self._session, self._continuation = config, session, continuation
        with self._engine(spill) as engine:
            self._sources = self._opened(engine)
            types = {name: source.types for name, source in self._sources.items()}
            self._files = SourceFiles(config, list(self._listed()), types)
            self._surveyed = each(session, self._files.survey, range(len(self._files.files)))
            self._check_expressions(engine)
            self._lookups = Lookups(session, config, self._files)
            self._check_agreements()
            self._marked = self._lookups.marked(self._read()).persist(StorageLevel.DISK_ONLY)
            self.rows = self._marked.where(~F.col("removed") & ~F.col("refused"))
            self._check_times()
            forgotten = read_list(session, engine, config, continuation)
            self.forgotten = forgotten.listed if forgotten else None
            self._forgotten = forgotten.match(self.ends(), continuation.previous) if forgotten else {}
        self.relations = in_order(config, self._names)
        self._check_ids()

    def close(self) -> None:
        """Frees what executors keep of the rows."""
        self._marked.unpersist()

    def totals(self) -> ReadTotals:
        """What was read."""
        rows = {name: self._rows_of(name) for name in self._sources}
        types = {name: source.types for name, source in self._sources.items()}
        return ReadTotals(rows, types, *self._left_out(), forgotten=self._forgotten)

    def _left_out(self) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """See `ReadTotals`: rows without consent, and rows removed."""
        relations, names = self.config.relations, list(self.config.sources)
        found = {}
        if any(relation.without for relation in relations) or any(one.source for one in self.config.consents):
            removed, refused = (
                F.sum(F.col("removed").cast("int")),
                F.sum((F.col("refused") & ~F.col("nobody")).cast("int")),
            )
            rows = self._marked.groupBy("declared", "source").agg(removed, refused).collect()
            found = {(declared, names[source]): counts for declared, source, *counts in rows}
        inverses = {relation.inverse for relation in relations}
        without_consent: dict[str, int] = {}
        all_removed: dict[str, dict[str, int]] = {}
        for index, relation in enumerate(relations):
            consent = self.config.consent_of(relation)
            for name in (name for name in relation.sources if self._rows_of(name)):
                gone, refusing = found.get((index, name), (0, 0))
                if consent and consent.source:
                    without_consent[relation.label] = without_consent.get(relation.label, 0) + refusing
                if relation.without and relation.label not in inverses:
                    all_removed.setdefault(relation.label, {})[name] = gone
        return without_consent, all_removed

    def _read(self) -> DataFrame:
        """EVENT_ROWS of all files, a task each."""
        read, count = EventRows(self._files, self._reference_time()), len(self._files.files)
        return self._session.range(0, count, 1, max(count, 1)).mapInArrow(read, EVENT_ROWS)

    def type_of(self, side: Side) -> Column:
        """The position of the entity type on a side of each row's relation."""
        at = {name: position for position, name in enumerate(self.config.entities)}
        types = F.array(*(F.lit(at[relation.side(side).type]) for relation in self.config.relations))
        return F.element_at(types, F.col("declared") + 1)

    def ends(self) -> DataFrame:
        """(type, id) of both ends of every event."""
        pairs = [F.struct(self.type_of(side).alias("type"), F.col(str(side)).alias("id")) for side in Side]
        return self.rows.select(F.explode(F.array(*pairs)).alias("end")).select("end.type", "end.id")

    def wrong_weight(self, declared: int) -> TransraError:
        """The error for the first event of a declared relation whose weight is not a positive number."""
        return self._first(self.config.relations[declared].sources, partial(_wrong_weight, self._files, declared))

    @contextmanager
    def _engine(self, spill: Path) -> Iterator[Engine]:
        engine = Engine(spill / "duckdb", self.config.memory_bytes, 1)
        try:
            engine.lock((path for files in self._continuation.files.values() for path in files), [spill])
            yield engine
        finally:
            engine.close()

    def _opened(self, engine: Engine) -> dict[str, Source]:
        """The sources, as all of their files together have them: none of their rows is read."""
        for name, files in self._continuation.files.items():
            if files and (format := file_format(name, self.config.sources[name], files)) not in FORMATS:
                told = f'graph.engine "spark" reads {", ".join(FORMATS)}, found {format}; use "duckdb"'
                raise ConfigError(f"graph.sources.{name}: {told}")
        return open_sources(engine, self.config, self._continuation.files, {}, {}, staged=False)

    def _listed(self) -> Iterator[tuple[str, Files]]:
        """The source of each file, and the file: a task each."""
        for name in self._sources:
            files = self._continuation.files[name]
            parquet = file_format(name, self.config.sources[name], files) == "parquet"
            for path, keys in (filled(files) if parquet else files).items():
                yield name, {path: keys}

    def _rows_of(self, source: str) -> int:
        return sum(one.rows for one in self._surveyed if one.source == source)

    def _check_expressions(self, engine: Engine) -> None:
        for index, relation in enumerate(self.config.relations):
            for name in relation.sources:
                if name in self._sources and self._rows_of(name):
                    self._check_relation(engine, index, self._sources[name])
            consent = self.config.consent_of(relation)
            if consent and consent.source:
                check_question(engine, consent, self._sources[consent.source], self.config.consent_path(index))

    def _check_relation(self, engine: Engine, index: int, source: Source) -> None:
        relation, path = self.config.relations[index], f"graph.relations[{index}]"
        check_relation(engine, source, relation, path)
        if (without := relation.without) and (other := self._sources.get(without.source)):
            require_same_types(without.columns, source, other, path)

    def _check_agreements(self) -> None:
        """Raises DataError for a person who says yes and no, where no time says which came last."""
        for index, relation in enumerate(self.config.relations):
            consent, path = self.config.consent_of(relation), self.config.consent_path(index)
            if consent is None or consent.source is None:
                continue
            dated = consent.time_column or self._sources[consent.source].time
            id = None if dated else self._lookups.both_answers(consent, path)
            if id is not None:
                raise self._first([consent.source], partial(_says_both, consent, path, id))

    def _reference_time(self) -> int | None:
        """See `weights.reference_time`."""
        if self.config.split.time:
            return epoch_seconds(self.config.split.time.valid_from)
        return latest_moment(moment for one in self._surveyed for moment in one.latest)

    def _check_times(self) -> None:
        """See `times.check_times`."""
        read = {name for relation in self.config.relations for name in relation.sources}
        for name, source in self._sources.items():
            if name in read and source.time and odd_between(source, *self._times(name)):
                low, high = F.min("happened"), F.max("happened")
                rows = self.rows.where(F.col("source") == list(self.config.sources).index(name))
                found = rows.agg(low, high, F.count(F.lit(1)) - F.count("happened")).collect()[0]
                if odd := odd_between(source, *found):
                    raise self._first([name], partial(_odd_time, self._files, odd))

    def _times(self, source: str) -> tuple[int | None, int | None, int]:
        """The first and last time of all rows of a source, and how many have none."""
        surveyed = [one for one in self._surveyed if one.source == source]
        lows = [one.low for one in surveyed if one.low is not None]
        highs = [one.high for one in surveyed if one.high is not None]
        return min(lows, default=None), max(highs, default=None), sum(one.missing for one in surveyed)

    def _names(self, index: int) -> list[str]:
        """The sorted names in a relation column."""
        rows = self.rows.where(F.col("declared") == index).select("relation").distinct().collect()
        names = [row["relation"] for row in rows]
        for name in sorted(names, key=lambda name: name is not None):
            if not is_name(name):
                sources = self.config.relations[index].sources
                raise self._first(sources, partial(_wrong_name, self._files, index, name))
        return sorted(names)

    def _check_ids(self) -> None:
        """Raises DataError for an event without an id, of the first type that has one."""
        missing = self.rows.select("declared", *(F.col(str(side)).isNull().alias(str(side)) for side in Side))
        rows = missing.where(" OR ".join(map(str, Side))).distinct().collect()
        found = {(row["declared"], side) for row in rows for side in Side if row[str(side)]}
        for type in self.config.entities:
            for index, relation in enumerate(self.config.relations):
                for side, end in relation.sides.items():
                    if end.type == type and (index, side) in found:
                        raise self._first(relation.sources, partial(_missing_id, self._files, index, side))

    def _first(self, sources: list[str], find: Find) -> TransraError:
        """What is found in the first file, of sources in their order, in which something is: a pass of its own."""
        at = [(sources.index(name), index) for index, (name, _) in enumerate(self._files.files) if name in sources]
        found = each(self._session, partial(self._files.find, find), [index for _, index in sorted(at)])
        return next(error for text in found if text and (error := carried(text)))


def _events(files: SourceFiles, declared: int, source: Source) -> list[Events]:
    return [events for events in files.parts(source, None) if events.declared == declared]


def _says_both(consent: ConsentConfig, path: str, id: str, engine: Engine, source: Source) -> TransraError | None:
    answers = Answers(engine, consent, source, path)
    there = engine.rows(f"SELECT 1 FROM {source.table} WHERE {answers.disagrees(id)} LIMIT 1")
    return answers.says_both(id) if there else None


def _odd_time(files: SourceFiles, odd: OddTime, engine: Engine, source: Source) -> TransraError | None:
    condition = " OR ".join(f"({events.condition})" for events in files.parts(source, None))
    if not engine.rows(f"SELECT 1 FROM {source.table} WHERE ({condition}) AND {odd.condition} LIMIT 1"):
        return None
    return time_error(engine, source, condition, odd)


def _wrong_name(
    files: SourceFiles, declared: int, name: str | None, engine: Engine, source: Source
) -> TransraError | None:
    for events in _events(files, declared, source):
        column = quoted(events.relation.relation_column or "")
        value = "IS NULL" if name is None else f"= {literal(name)}"
        wrong = f"({events.condition}) AND CAST({column} AS VARCHAR) {value}"
        if engine.rows(f"SELECT 1 FROM {source.table} WHERE {wrong} LIMIT 1"):
            return wrong_name(engine, events, name)
    return None


def _missing_id(files: SourceFiles, declared: int, side: Side, engine: Engine, source: Source) -> TransraError | None:
    for events in _events(files, declared, source):
        column = events.relation.side(side).column
        missing = f"({events.condition}) AND {quoted(column)} IS NULL"
        if engine.rows(f"SELECT 1 FROM {source.table} WHERE {missing} LIMIT 1"):
            return missing_value(engine, source, column, events.condition)
    return None


def _wrong_weight(files: SourceFiles, declared: int, engine: Engine, source: Source) -> TransraError | None:
    for events in _events(files, declared, source):
        wrong = f"({events.condition}) AND {invalid_weight(events.relation)}"
        if engine.rows(f"SELECT 1 FROM {source.table} WHERE {wrong} LIMIT 1"):
            return wrong_weight(engine, [events], declared)
    return None
