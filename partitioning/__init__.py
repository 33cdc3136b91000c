"""Events to graph: reads logs, maps ids to partitions and offsets, writes PBG's layout. Knows nothing of torch.

Importing this package is light; DuckDB and Arrow are loaded by the functions that need them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from artifacts.sources.source_files import Files
from partitioning.config.checks import graph_problems
from partitioning.config.data_checks import CheckConfig, check_problems
from partitioning.config.new_events import events_config, source_of
from partitioning.config.sections import GraphConfig, SourceConfig
from partitioning.report import GraphReport
from partitioning.sources.files import NOT_IN_ALL, source_files

if TYPE_CHECKING:
    from artifacts.sources.frame import Frame
    from partitioning.engines.backend import OpenBackend
    from partitioning.expectation import Expected
    from partitioning.inspection.plan import Plan
    from partitioning.inspection.profile import Column as Column
    from partitioning.inspection.profile import Profile as Profile

SourceFiles: TypeAlias = dict[str, Files]  # by source

__all__ = [
    "CheckConfig",
    "GraphConfig",
    "GraphReport",
    "NOT_IN_ALL",
    "SourceConfig",
    "build_graph",
    "check_schemas",
    "check_problems",
    "events_config",
    "expect_build",
    "expect_size",
    "forgotten_ids",
    "graph_problems",
    "id_key",
    "plan_graph",
    "profile_of",
    "relation_names",
    "source_files",
    "source_of",
    "table_states",
]


def plan_graph(config: GraphConfig, root: Path, files: SourceFiles | None = None) -> "Plan":
    """Estimates what a build needs, from the sizes of its inputs. Raises DataError for missing or broken files.

    `files` are those of `source_files`; without them they are looked up.
    """
    from partitioning.inspection import plan

    return plan.plan_graph(config, source_files(config, root) if files is None else files, {})


def check_schemas(config: GraphConfig, files: SourceFiles, checks: Sequence[CheckConfig] = ()) -> list[str]:
    """Looks up in the schemas of `files` what the config, and `checks` of its data, read; no row is read.

    Returns the sources whose schemas only a build knows (JSON lines, databases). Raises what the build would say: of a
    column that is not there or is of another type, and of a condition that DuckDB does not accept, all at once.
    """
    from partitioning.inspection import schemas

    return schemas.check_schemas(config, files, checks)


def expect_build(config: GraphConfig, files: SourceFiles, plan: "Plan") -> "Expected":
    """What a full build will probably take, after its plan: looks at the ids and times small builds, some seconds."""
    from partitioning import expectation

    return expectation.expect_build(config.with_inverses(), files, plan)


def expect_size(
    config: GraphConfig, ids: Mapping[str, int], ends: Mapping[str, int], edges: int, buckets: int
) -> "Expected":
    """What a full build of so many edges takes; `ids` of each type, and on how many `ends` of relations it is. Some
    seconds, as small builds are timed."""
    from partitioning import expectation

    return expectation.expect_size(config.with_inverses(), ids, ends, edges, buckets)


def profile_of(name: str, source: SourceConfig, files: Files) -> "AbstractContextManager[Profile]":
    """Opens a source of which no config is written yet, to ask what its columns are like.

    Only `path`, `format` and `columns` of `source` are looked at. Raises DataError for files that are broken, of
    different formats or columns, or without a header.
    """
    from partitioning.inspection import profile

    return profile.profile_of(name, source, files)


def relation_names(config: GraphConfig, files: SourceFiles) -> list[str]:
    """Names of the graph's relations. Those of a `relation_column` are read from its sources, one column of each.

    Raises ConfigError for a condition that DuckDB does not accept, or for a name that two relations have, and DataError
    for bad input.
    """
    from partitioning.inspection import names

    return names.relation_names(config, files)


def forgotten_ids(config: GraphConfig, files: SourceFiles) -> dict[str, list[str]]:
    """The ids on the config's list of those to forget, by entity type; none without a list.

    `files` are those of `source_files`. Raises DataError for a list that is not as the config says.
    """
    from partitioning.inspection import forgetting

    return forgetting.forgotten_ids(config, files)


def table_states(config: GraphConfig) -> dict[str, Any]:
    """What tells the rows of each PostgreSQL source from others, by source; none without such sources.

    Raises ConfigError for a table or a query that is none, and DataError for a server that cannot be asked.
    """
    if not any(source.postgres for source in config.sources.values()):
        return {}
    from partitioning.sources.formats import postgres

    return postgres.table_states(config)


def id_key(config: GraphConfig) -> bytes | None:
    """The key of the graph's pseudonyms; None where ids are kept. Raises ConfigError where the environment has none."""
    from artifacts.pseudonyms import read_key

    return read_key(config.ids.key_env, "graph.ids.key_env") if config.ids else None


def build_graph(
    config: GraphConfig,
    root: Path,
    destination: Path,
    progress: Callable[[str, float], None],
    previous: Path | None = None,
    sources: "Mapping[str, Frame] | None" = None,
    files: SourceFiles | None = None,
    checks: Sequence[CheckConfig] = (),
    states: Mapping[Path, dict[str, Any]] = MappingProxyType({}),
) -> GraphReport:
    """Builds the graph of `config` in the existing empty directory `destination`.

    Ids of the graph in the directory `previous` keep partition and offset, also those that no longer occur; new ids
    follow them. `progress` is told the name of the step and its fraction done.

    `sources` are tables that stand for sources of the config, by name: pandas DataFrames, Arrow tables, whatever has
    `__arrow_c_stream__`. Their `path`, `format` and `columns` are not looked at, types are those of Arrow's schema, and
    the graph is that of a Parquet file of the same table; an index of pandas is a column if it has a name, as in such a
    file. They stay in memory, and what the graph needs of them is copied within `graph.memory_limit`, or spilled.
    `files` are those of `source_files`; without them they are looked up. What `checks` ask of the sources is measured
    on the rows that this build reads. `states` are those of `artifacts.sources.inputs.file_state` that a ledger is to
    know the files by, where that is not their present one: in which the same content was seen before.

    Raises ConfigError for a condition that DuckDB does not accept or an unknown source, DataError for bad input (naming
    file and row, or `source '<name>', row <n>`) and ResourceError for too little memory or disk.
    """
    from partitioning import build

    backend = _backend(config, checks)
    return build.build_graph(config, root, destination, progress, previous, sources or {}, files, backend, states)


def _backend(config: GraphConfig, checks: Sequence[CheckConfig]) -> "OpenBackend":
    if config.engine == "spark":
        from partitioning.engines.spark_backend import open_spark

        return open_spark
    from partitioning.engines.duckdb_reader import open_duckdb
    from partitioning.engines.local_backend import open_local

    return partial(open_local, open_events=partial(open_duckdb, checks=checks))
