"""Checks of a config for Spark: what it cannot do is refused by name, before anything is read."""

from collections.abc import Iterator

from artifacts.section import Problem
from partitioning.config.sections import GraphConfig, RelationConfig, SourceConfig

FORMATS = ("parquet", "csv", "tsv")
WAY_OUT = 'graph.engine "spark" cannot do this; remove it, or use "duckdb"'


def spark_problems(graph: GraphConfig) -> Iterator[Problem]:
    """Yields every setting that needs an engine in one process."""
    for name, source in graph.sources.items():
        for key in _keys(source):
            yield Problem(("sources", name, key), WAY_OUT)
    for index, relation in enumerate(graph.relations):
        for path in _keys_of_relation(graph, relation):
            yield Problem(("relations", index, *path), WAY_OUT)
    for name, entity in graph.entities.items():
        if entity.min_degree:
            yield Problem(("entities", name, "min_degree"), WAY_OUT)
    if graph.split.random:
        yield Problem(("split", "random"), WAY_OUT)
    for key in ("forget", "ids"):
        if getattr(graph, key):
            yield Problem((key,), WAY_OUT)


def _keys(source: SourceConfig) -> Iterator[str]:
    """What a source asks for that tasks cannot do file by file."""
    if source.postgres:
        yield "postgres"
    if source.append_only:
        yield "append_only"
    if source.is_database or source.format not in (None, *FORMATS):
        yield "format"


def _keys_of_relation(graph: GraphConfig, relation: RelationConfig) -> Iterator[tuple[str, ...]]:
    """What a relation asks for beyond its own rows."""
    for side, end in relation.sides.items():
        if end.join:
            yield side.value, "join"
        if end.max_degree:
            yield side.value, "max_degree"
    if relation.without:
        yield ("without",)
    consent = graph.consent_of(relation)
    if consent and consent.source:
        yield ("domain",)
