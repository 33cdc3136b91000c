"""The relations of a graph: those that the config names, and one for each value of a `relation_column`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def summed(relations: list[NamedRelation]) -> NDArray[np.bool_]:
    """Which relations (relations,) have one edge for all events between the same entities."""
    return np.array([relation.config.weight is not None for relation in relations])


def named_relations(
    engine: Engine, config: GraphConfig, events: list[Events], previous: Mapping[str, int]
) -> list[NamedRelation]:
    """The relations of events. `previous` has the position in the config of those that a ledger is continued with, by
    name."""

    def values(index: int) -> list[str]:
        kept = {name for name, at in previous.items() if at == index}
        return _values(engine, [part for part in events if part.declared == index], kept)

    return in_order(config, values)


def in_order(config: GraphConfig, values: Callable[[int], list[str]]) -> list[NamedRelation]:
    """Relations in the order of the config; those of a relation_column sorted by name in its place.

    `values` gives the sorted names of a relation_column by the position of its relation. Raises ConfigError for a name
    that two relations have.
    """
    relations: dict[str, NamedRelation] = {}
    for index, declared in enumerate(config.relations):
        for name in [declared.name] if declared.name else values(index):
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
        for (name,) in sorted(found, key=lambda row: row[0] is not None):
            if not is_name(name):
                raise wrong_name(engine, part, name)
        names.update(row[0] for row in found)
    return sorted(names)  # by code point, in Python: every engine must agree


def is_name(value: str | None) -> bool:
    """Whether the value of a relation column can be the name of a relation."""
    return bool(value) and not any(ord(c) < 32 or ord(c) == 127 for c in value or "")


def wrong_name(engine: Engine, events: Events, name: str | None) -> DataError:
    """The error for the first event whose relation column has a value that is no name."""
    column = events.relation.relation_column or ""
    if name is None:
        return missing_value(engine, events.source, column, events.condition)
    wrong = f"({events.condition}) AND {text(column)} = {literal(name)}"
    return DataError(
        f"{row_of(engine, events.source, wrong)}: column '{column}' has {name!r}, the name of a relation; "
        "expected text without control characters"
    )


def relation_table(engine: Engine, declared: int, relations: list[NamedRelation]) -> str:
    """Makes the table (relation_name, rel) of the relations that a relation_column expands to; returns its name."""
    table = f"relations_{declared}"
    rows = ", ".join(f"({literal(r.name)}, {i})" for i, r in enumerate(relations) if r.declared == declared)
    engine.run(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM (VALUES {rows}) AS t(relation_name, rel)")
    return table
