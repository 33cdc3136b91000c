"""The relations of a graph: those that the config names, and one for each value of a `relation_column`."""

from collections.abc import Mapping
from dataclasses import dataclass

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.engine import Engine, literal, text
from partitioning.config.sections import GraphConfig, RelationConfig
from partitioning.events.events import Events
from partitioning.sources.diagnosis import missing_value, row_of


@dataclass(frozen=True)
class NamedRelation:
    """A relation of the graph; `declared` is its position in graph.relations."""

    name: str
    declared: int
    config: RelationConfig


def named_relations(
    engine: Engine, config: GraphConfig, events: list[Events], previous: Mapping[str, int]
) -> list[NamedRelation]:
    """Relations in the order of the config; those of a relation_column sorted by name in its place.

    `previous` has the position in the config of those that a ledger is continued with, by name.
    """
    relations: dict[str, NamedRelation] = {}
    for index, declared in enumerate(config.relations):
        kept = {name for name, at in previous.items() if at == index}
        names = [declared.name] if declared.name else _values(engine, [e for e in events if e.declared == index], kept)
        for name in names:
            if name in relations:
                raise ConfigError(
                    f"graph.relations[{index}].relation_column: relation '{name}' is already made by "
                    f"graph.relations[{relations[name].declared}]"
                )
            relations[name] = NamedRelation(name, index, declared)
    return list(relations.values())


def _values(engine: Engine, events: list[Events], kept: set[str]) -> list[str]:
    """Distinct values of the relation column, and those that are kept. Raises DataError for a missing value."""
    names = set(kept)
    for part in events:
        column = part.relation.relation_column or ""
        found = engine.rows(f"SELECT DISTINCT {text(column)} FROM {part.source.table} WHERE {part.condition}")
        if (None,) in found:
            raise missing_value(engine, part.source, column, part.condition)
        for (name,) in found:
            if not name or any(ord(c) < 32 or ord(c) == 127 for c in name):
                wrong = f"({part.condition}) AND {text(column)} = {literal(name)}"
                raise DataError(
                    f"{row_of(engine, part.source, wrong)}: column '{column}' has {name!r}, the name of a relation; "
                    "expected text without control characters"
                )
        names.update(row[0] for row in found)
    return sorted(names)  # by code point, in Python: every engine must agree


def relation_table(engine: Engine, declared: int, relations: list[NamedRelation]) -> str:
    """Makes the table (relation_name, rel) of the relations that a relation_column expands to; returns its name."""
    table = f"relations_{declared}"
    rows = ", ".join(f"({literal(r.name)}, {i})" for i, r in enumerate(relations) if r.declared == declared)
    engine.run(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM (VALUES {rows}) AS t(relation_name, rel)")
    return table
