"""Checks of a config for Spark: what it cannot do is refused by name, before anything is read."""

from collections.abc import Iterator

from artifacts.section import Problem
from partitioning.config.sections import GraphConfig, SourceConfig

FORMATS = ("parquet", "csv", "tsv")
WAY_OUT = 'graph.engine "spark" cannot do this; remove it, or use "duckdb"'


def spark_problems(graph: GraphConfig) -> Iterator[Problem]:
    """Yields every setting that needs an engine in one process."""
    for name, source in graph.sources.items():
        for key in _keys(source):
            yield Problem(("sources", name, key), WAY_OUT)
    for index, relation in enumerate(graph.relations):
        if relation.consent and relation.consent.intervals:
            yield Problem(("relations", index, "consent", "from_column"), WAY_OUT)
    if graph.consent and graph.consent.intervals:
        yield Problem(("consent", "from_column"), WAY_OUT)
    if graph.ids:
        yield Problem(("ids",), WAY_OUT)


def _keys(source: SourceConfig) -> Iterator[str]:
    """What a source asks for that tasks cannot do file by file."""
    if source.postgres:
        yield "postgres"
    if source.append_only:
        yield "append_only"
    if source.is_database or source.format not in (None, *FORMATS):
        yield "format"
