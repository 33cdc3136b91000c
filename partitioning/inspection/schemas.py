"""What a config says of its sources' columns, held against their schemas before a row is read.

Headers of CSV and TSV and footers of Parquet files say which columns there are, and of Parquet also of which types.
JSON lines and databases would have to be read in whole: they are left to the build.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from artifacts.errors import ConfigError, TransraError
from artifacts.expressions.engine import Engine
from artifacts.machine.resources import cpu_count
from artifacts.sources.source_files import Files
from partitioning.config.data_checks import CheckConfig
from partitioning.config.sections import GraphConfig
from partitioning.events.events import check_relation
from partitioning.sources.files import file_format
from partitioning.sources.table import Source, open_used
from partitioning.sources.used import Use, used


def check_schemas(config: GraphConfig, files: dict[str, Files], checks: Iterable[CheckConfig]) -> list[str]:
    """See `partitioning.check_schemas`."""
    with TemporaryDirectory() as spill:
        engine = Engine(Path(spill), config.memory_bytes, config.threads or cpu_count())
        engine.lock((path for found in files.values() for path in found), [Path(spill)])
        try:
            uses = used(engine, config, checks)
            quick = [name for name in uses if files.get(name) and _has_schema(config, name, files[name])]
            _require(engine, config, {name: uses[name] for name in quick}, files)
            return [name for name in uses if name not in quick]
        finally:
            engine.close()


def _has_schema(config: GraphConfig, name: str, files: Files) -> bool:
    return file_format(name, config.sources[name], files) in ("parquet", "csv", "tsv")


def _require(engine: Engine, config: GraphConfig, uses: dict[str, Use], files: dict[str, Files]) -> None:
    sources: dict[str, Source] = {}
    errors: list[TransraError] = []
    for name, use in uses.items():
        as_it_is = replace(use, hashed=set())  # pseudonyms would be made of all rows
        try:
            sources |= open_used(engine, config, {name: as_it_is}, files, {}, staged=False)
        except TransraError as error:
            errors.append(error)
            try:  # a wrong condition hides a wrong column; without its columns, none can be looked at
                open_used(engine, config, {name: replace(as_it_is, expressions=[])}, files, {}, staged=False)
            except TransraError as other:
                errors.append(other)
    for index, relation in enumerate(config.relations):
        for name in (name for name in relation.sources if name in sources):
            try:
                check_relation(engine, sources[name], relation, f"graph.relations[{index}]")
            except ConfigError as error:
                errors.append(error)
    if errors:
        lines = dict.fromkeys(line for error in errors for line in error.lines)
        raise type(errors[0])(*lines)
