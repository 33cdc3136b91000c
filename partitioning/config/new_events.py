"""A config for a file of new events: what the relations of one source make of its rows."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError, DataError
from partitioning.config.sections import EntityConfig, GraphConfig, RelationConfig, SplitConfig

ROWS_OF_PARTITION = 5_000_000  # events, for each partition of their entities


def source_of(config: GraphConfig, columns: Collection[str], asked: str | None, where: str) -> str:
    """The source whose rows a file with these columns holds: the one `asked` for, or the only one that finds all of its
    ids, times and relations.

    Raises ConfigError for a name that is no source with relations, and where several fit; DataError where none does,
    with a column that each misses. `where`: the file.
    """
    wanted = {name: _columns(config, name) for name in config.sources if _relations(config, name)}
    if asked is not None and asked not in wanted:
        raise ConfigError(f"--source {asked}: no relation reads it; expected one of {', '.join(wanted)}")
    wanted = wanted if asked is None else {asked: wanted[asked]}
    missing = {name: [one for one in needed if one not in columns] for name, needed in wanted.items()}
    fitting = [name for name, absent in missing.items() if not absent]
    if not fitting:
        told = ", ".join(f"'{absent[0]}' of graph.sources.{name}" for name, absent in missing.items())
        has = ", ".join(columns)
        raise DataError(f"{where}: misses a column of every source that relations read ({told}); has {has}")
    if len(fitting) > 1:
        raise ConfigError(f"{where}: may hold rows of {' or '.join(fitting)}; expected --source with one of them")
    return fitting[0]


def events_config(config: GraphConfig, source: str, path: Path, rows: int) -> GraphConfig:
    """The graph of the events of a source in the Parquet files of `path`: all of them train, and none is left out for
    being one of few or of many."""
    read, alone = {source, *config.lists}, {"append_only": False, "split": None}
    sources = {name: one.model_copy(update=alone) for name, one in config.sources.items() if name in read}
    elsewhere: dict[str, Any] = dict.fromkeys(("columns", "postgres", "table", "query"))
    given = {**elsewhere, "types": {}, "path": str(path), "format": "parquet"}
    sources[source] = sources[source].model_copy(update=given)
    relations = [_as_edges(relation, source) for relation in _relations(config, source)]
    return config.model_copy(
        update={
            "sources": sources,
            "entities": dict.fromkeys(config.entities, EntityConfig()),
            "relations": relations,
            "partitions": 1 + rows // ROWS_OF_PARTITION,
            "split": SplitConfig(),
            "benchmark": None,
            "write_names": False,
            "engine": "duckdb",
        }
    )


def _relations(config: GraphConfig, source: str) -> list[RelationConfig]:
    return [relation for relation in config.relations if source in relation.sources]


def _columns(config: GraphConfig, source: str) -> list[str]:
    """What the relations of a source cannot do without."""
    relations, time = _relations(config, source), config.sources[source].time_column
    named = [relation.relation_column for relation in relations] + [time]
    ids = [side.column for relation in relations for side in relation.sides.values()]
    return list(dict.fromkeys([*ids, *(name for name in named if name)]))


def _as_edges(relation: RelationConfig, source: str) -> RelationConfig:
    lhs, rhs = (side.model_copy(update={"max_degree": None}) for side in (relation.lhs, relation.rhs))
    return relation.model_copy(update={"source": source, "allow_empty": True, "lhs": lhs, "rhs": rhs})
