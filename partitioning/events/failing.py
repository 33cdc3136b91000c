"""Finds the expression and the row that a query failed at; slow, and only called when something is wrong."""

from collections.abc import Iterator, Mapping

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine, NoValue
from partitioning.config.sections import GraphConfig
from partitioning.sources.diagnosis import row_of
from partitioning.sources.table import Source


def failing_row(engine: Engine, config: GraphConfig, sources: Mapping[str, Source], error: NoValue) -> DataError:
    """The error that names the file, the row and the expression of the config; as it is where none of them fails."""
    for path, name, sql, among in _expressions(config):
        failing = f"({among}) AND TRY({{'value': ({sql})}}) IS NULL"  # of a row without a value; NULL is one here
        source = sources.get(name)
        if source and engine.rows(f"SELECT 1 FROM {source.table} WHERE {failing} LIMIT 1"):
            place = row_of(engine, source, failing)
            return DataError(f"{place}: {path}: {error}; expected a value for every row, or TRY_CAST")
    return error


def _expressions(config: GraphConfig) -> Iterator[tuple[str, str, str, str]]:
    """Path in the config, source, SQL, and SQL condition of the rows that it is asked for."""
    for index, relation in enumerate(config.relations):
        where = f"TRY({relation.where})" if relation.where else "true"
        for name in relation.sources:
            if relation.where:
                yield f"graph.relations[{index}].where", name, relation.where, "true"
            if relation.weight:
                yield f"graph.relations[{index}].weight", name, relation.weight, where
        consent = config.consent_of(relation)
        if consent and consent.source and consent.where:
            yield f"{config.consent_path(index)}.where", consent.source, consent.where, "true"
