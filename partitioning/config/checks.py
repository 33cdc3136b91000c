"""Checks of the graph config that look at more than one value."""

from collections.abc import Iterator

from artifacts.moment import epoch_seconds
from artifacts.section import Problem, did_you_mean
from artifacts.sources.stores import is_url, url_problem
from partitioning.config.append_only import append_only_problems
from partitioning.config.consent_checks import Path, consent_problems, offsite_problems, unknown
from partitioning.config.label_checks import label_problems
from partitioning.config.sections import GraphConfig, PostgresConfig, RelationConfig, SourceConfig
from partitioning.config.spark import spark_problems


def graph_problems(graph: GraphConfig) -> Iterator[Problem]:
    """Yields what the types of the section alone cannot say; paths begin below it."""
    yield from _sources(graph)
    yield from _partitions(graph)
    yield from label_problems(graph)
    for index, relation in enumerate(graph.relations):
        yield from _relation(graph, relation, ("relations", index))
    yield from _names(graph)
    if graph.consent:
        yield from consent_problems(graph, graph.consent, ("consent",))
    if graph.forget:
        yield from unknown("source", graph.forget.source, graph.sources, ("forget", "source"))
    yield from _split(graph)
    yield from append_only_problems(graph)
    if graph.engine == "spark":
        yield from spark_problems(graph)


def _sources(graph: GraphConfig) -> Iterator[Problem]:
    answered = {one.source for one in (*graph.consents, graph.consent) if one and one.times}
    for name, source in graph.sources.items():
        path: Path = ("sources", name)
        if (source.path is None) == (source.postgres is None):
            yield Problem((*path, "path"), "expected exactly one of path and postgres")
        elif source.postgres:
            yield from _postgres(source, source.postgres, path)
        elif not source.patterns:
            yield Problem((*path, "path"), "expected at least one path")
        elif not all(source.patterns):
            yield Problem((*path, "path"), "a path is empty, which would be every file of the root; expected one")
        yield from (Problem((*path, "path"), wrong) for one in source.paths if (wrong := url_problem(one)))
        if graph.ids and any(map(is_url, source.patterns)):
            yield Problem((*path, "path"), "with graph.ids, a copy of a store's file would hold ids; expected a path")
        if source.is_database and not source.postgres:
            yield from _database(source, path)
        if source.columns and source.format in ("parquet", "jsonl"):
            yield Problem((*path, "columns"), f"a {source.format} source names its own columns; remove this")
        if source.types and source.format == "parquet":
            yield Problem((*path, "types"), "a Parquet source has its own types; remove this")
        yield from (
            Problem((*path, "types", column), f"is not in columns{did_you_mean(column, source.columns)}")
            for column in source.types
            if source.columns and column not in source.columns
        )
        if source.columns and len(set(source.columns)) < len(source.columns):
            yield Problem((*path, "columns"), "a column name occurs twice")
        if source.columns and source.time_column and source.time_column not in source.columns:
            hint = did_you_mean(source.time_column, source.columns)
            yield Problem((*path, "time_column"), f"'{source.time_column}' is not in columns{hint}")
        if source.time_unit and not source.time_column and name not in answered:
            yield Problem((*path, "time_unit"), "has no meaning without time_column")


def _database(source: SourceConfig, path: Path) -> Iterator[Problem]:
    if source.format not in (None, "sqlite"):
        yield Problem((*path, "format"), f"'{source.format}' has neither table nor query; expected sqlite")
    if (source.table is None) == (source.query is None):
        yield Problem(path, "a database needs exactly one of table and query")
    for key in ("columns", "types", "append_only"):
        if getattr(source, key):
            yield Problem((*path, key), "has no meaning for a database; remove this")


def _postgres(source: SourceConfig, postgres: PostgresConfig, path: Path) -> Iterator[Problem]:
    if (postgres.table is None) == (postgres.query is None):
        yield Problem((*path, "postgres"), "expected exactly one of table and query")
    for key in ("format", "table", "query", "columns", "types", "append_only"):
        if getattr(source, key):
            yield Problem((*path, key), "has no meaning beside postgres; remove this")


def _partitions(graph: GraphConfig) -> Iterator[Problem]:
    for name, entity in graph.entities.items():
        if entity.partitions not in (None, 1, graph.partitions):
            yield Problem(
                ("entities", name, "partitions"),
                f"PBG needs the same number for all partitioned types: expected 1 or graph.partitions "
                f"({graph.partitions}), found {entity.partitions}",
            )


def _relation(graph: GraphConfig, relation: RelationConfig, path: Path) -> Iterator[Problem]:
    if (relation.name is None) == (relation.relation_column is None):
        yield Problem(path, "expected exactly one of name and relation_column")
    if not relation.sources:
        yield Problem((*path, "source"), "expected at least one source")
    for source in relation.sources:
        yield from unknown("source", source, graph.sources, (*path, "source"))
    if len(set(relation.sources)) < len(relation.sources):
        yield Problem((*path, "source"), "a source occurs twice: its edges would count twice")
    for side, end in relation.sides.items():
        yield from unknown("entity type", end.type, graph.entities, (*path, side, "type"))
        if end.join:
            yield from unknown("source", end.join.source, graph.sources, (*path, side, "join", "source"))
    if relation.without:
        yield from unknown("source", relation.without.source, graph.sources, (*path, "without", "source"))
        if relation.without.source in relation.sources:
            yield Problem((*path, "without", "source"), "is the relation's own source, so that no row would be left")
    if not relation.split and relation.domain != "side":
        yield Problem(
            (*path, "split"), f"only side information may be in training for good; this relation is {relation.domain}"
        )
    if relation.inverse and relation.relation_column:
        yield Problem((*path, "inverse"), "only a relation with a name can have an inverse")
    if relation.half_life_days:
        yield from _half_life(graph, relation, (*path, "half_life_days"))
    if relation.domain == "offsite":
        yield from offsite_problems(graph, relation, path)
    elif relation.consent:
        yield Problem((*path, "consent"), f"only offsite relations have consent; this one is {relation.domain}")


def _half_life(graph: GraphConfig, relation: RelationConfig, path: Path) -> Iterator[Problem]:
    if relation.weight is None:
        yield Problem(path, 'has no meaning without weight; set weight: "1" to count events')
    for name in relation.sources:
        if name in graph.sources and not graph.sources[name].time_column:
            yield Problem(path, f"source '{name}' has no time_column")


def _names(graph: GraphConfig) -> Iterator[Problem]:
    first: dict[str, int] = {}
    named = [(i, key, getattr(r, key)) for i, r in enumerate(graph.relations) for key in ("name", "inverse")]
    for index, key, name in named:
        if name in first:
            yield Problem(
                ("relations", index, key),
                f"'{name}' is already graph.relations[{first[name]}]; several sources are a list in source",
            )
        elif name is not None:
            first[name] = index
            if any(ord(c) < 32 or ord(c) == 127 for c in name):
                yield Problem(("relations", index, key), f"{name!r}: expected a name without control characters")


def _split(graph: GraphConfig) -> Iterator[Problem]:
    time, random = graph.split.time, graph.split.random
    if time and random:
        yield Problem(("split",), "expected at most one of time and random")
    if random and random.valid + random.test >= 1:
        yield Problem(("split", "random"), f"valid + test = {random.valid + random.test:g} leaves nothing for train")
    if not time:
        return
    if epoch_seconds(time.test_from) <= epoch_seconds(time.valid_from):
        yield Problem(("split", "time", "test_from"), f"must be after valid_from ({time.valid_from})")
    if time.until is not None and epoch_seconds(time.until) <= epoch_seconds(time.test_from):
        yield Problem(("split", "time", "until"), f"must be after test_from ({time.test_from})")
    if not any(source.time_column or source.split for source in graph.sources.values()):
        yield Problem(("split", "time"), "no source has a time_column or a split, so everything would be train")
