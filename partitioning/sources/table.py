"""A source as a table that DuckDB can scan, its columns and types checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.column_types import INTEGERS, NO_TYPE, UNSIGNED
from artifacts.expressions.engine import Engine, quoted
from artifacts.expressions.expression import parse
from artifacts.expressions.type_checks import check_types, floats
from artifacts.sources.source_files import Files
from partitioning.config.data_checks import CheckConfig
from partitioning.config.sections import Format, GraphConfig, SourceConfig
from partitioning.sources.epochs import epoch_of, is_time, needs_unit
from partitioning.sources.files import check_file, file_format
from partitioning.sources.formats.delimited import open_delimited
from partitioning.sources.formats.frames import Frames, frame_label, open_frame
from partitioning.sources.formats.json_lines import open_json_lines
from partitioning.sources.formats.parquet import open_parquet, single_valued
from partitioning.sources.formats.postgres import open_postgres
from partitioning.sources.formats.servers import Servers
from partitioning.sources.formats.sqlite import open_sqlite
from partitioning.sources.layout import Opened
from partitioning.sources.pseudonyms import replaced
from partitioning.sources.used import Use, used

_ID_TYPES = {*INTEGERS, *UNSIGNED, NO_TYPE, "VARCHAR", "UUID", "DATE"}


@dataclass(frozen=True)
class Source:
    """A source that is ready to be scanned.

    `label` is what messages say where no row is to be named; `declarable` whether the config may declare types;
    `types` are those of the columns that are used; `table` is what follows FROM; `reader` has the same rows with two
    more columns, called `place`: the file, and the row in it. `time` is the SQL of the event's epoch seconds, None
    without a time column.
    """

    name: str
    config: SourceConfig
    label: str
    declarable: bool
    types: dict[str, str]
    table: str
    reader: str
    place: tuple[str, str]
    time: str | None


def open_sources(
    engine: Engine,
    config: GraphConfig,
    files: dict[str, Files],
    frames: Frames,
    counted: Mapping[str, dict[str, str]],
    staged: bool = True,
    checks: Iterable[CheckConfig] = (),
    agreed: Mapping[str, dict[str, str]] = MappingProxyType({}),
) -> dict[str, Source]:
    """Opens the sources that the config and the checks of its data use, from `frames` or else from `files`.

    Raises DataError for broken files, columns and types, and ConfigError for an expression that is not one.
    `counted` has the column types of sources of which other files were counted before: those of all files agree.
    `agreed` has the types of Parquet sources of which `files` are a part, as they were found for all of their files.
    `staged` reads CSV and TSV into tables at once; a look at a single column needs none, and knows of no rows. All
    tables of a server are read within one transaction.
    """
    return open_used(engine, config, used(engine, config, checks), files, frames, counted, staged, agreed)


def open_used(
    engine: Engine,
    config: GraphConfig,
    uses: Mapping[str, Use],
    files: dict[str, Files],
    frames: Frames,
    counted: Mapping[str, dict[str, str]] = MappingProxyType({}),
    staged: bool = True,
    agreed: Mapping[str, dict[str, str]] = MappingProxyType({}),
) -> dict[str, Source]:
    """The same of the sources in `uses`, for what they are used for there."""
    sources = {}
    with Servers() as servers:
        for name in (name for name in config.sources if name in uses):
            postgres = config.sources[name].postgres
            if name in frames:
                opened = open_frame(engine, name, frames[name], uses[name])
                sources[name] = _source(config, name, frame_label(name), opened, uses[name], declarable=False)
            elif postgres:
                opened = open_postgres(engine, servers, name, postgres, uses[name])
                sources[name] = _source(config, name, frame_label(name), opened, uses[name], declarable=False)
            elif files[name]:
                types = counted.get(name, {}), agreed.get(name, {})
                sources[name] = _open(engine, config, name, files[name], uses[name], *types, staged)
    return sources


def open_whole(engine: Engine, name: str, source: SourceConfig, files: Files) -> Opened:
    """All columns of a Parquet, CSV or TSV source, scanned where they lie, for a look before there is a config.

    Of Parquet those that hold single values, and that all files with rows have.
    """
    format = file_format(name, source, files)
    use = Use(checked=single_valued(files)) if format == "parquet" else Use(queried=None)
    return _opened(engine, name, source, format, files, use, {}, {}, staged=False)


def has_rows(engine: Engine, source: Source) -> bool:
    """Whether a source has a row: without one, the types of a JSON text are not known."""
    return engine.rows(f"SELECT 1 FROM {source.table} LIMIT 1") != []


def check_expression(engine: Engine, source: Source, sql: str, path: str, wanted: str) -> None:
    """Raises ConfigError unless `sql` is a boolean or a number over the source's columns, without guessing types."""
    check_types(engine, parse(engine, sql, path), source.types, wanted, source.name, source.declarable)


def floats_of(engine: Engine, source: Source, sql: str, path: str) -> list[str]:
    """The parts of `sql` that may be NaN in a row of the source, as SQL."""
    return [*dict.fromkeys(floats(engine, parse(engine, sql, path), source.types, source.name, source.declarable))]


def _open(
    engine: Engine,
    config: GraphConfig,
    name: str,
    files: Files,
    use: Use,
    counted: dict[str, str],
    agreed: dict[str, str],
    staged: bool,
) -> Source:
    source = config.sources[name]
    format = file_format(name, source, files)
    for path in files:
        check_file(path, format)
    opened = _opened(engine, name, source, format, files, use, counted, agreed, staged)
    return _source(config, name, str(next(iter(files))), opened, use, declarable=format not in ("parquet", "sqlite"))


def _source(config: GraphConfig, name: str, label: str, opened: Opened, use: Use, declarable: bool) -> Source:
    source = config.sources[name]
    _check_types(name, source, label, opened.types, use)
    return Source(
        name=name,
        config=source,
        label=label,
        declarable=declarable,
        types=opened.types,
        table=opened.table,
        reader=opened.reader,
        place=opened.place,
        time=epoch_of(column, source.time_unit, opened.types[column]) if (column := source.time_column) else None,
    )


def _opened(
    engine: Engine,
    name: str,
    source: SourceConfig,
    format: Format,
    files: Files,
    use: Use,
    counted: dict[str, str],
    agreed: dict[str, str],
    staged: bool,
) -> Opened:
    if format == "parquet":
        if source.types:
            raise ConfigError(f"graph.sources.{name}.types: a Parquet source has its own types; remove this")
        return _with_pseudonyms(engine, name, open_parquet(engine, name, files, use, counted, agreed), use)
    if format == "jsonl":
        return open_json_lines(engine, name, source, files, use, counted)
    if format == "sqlite":
        return open_sqlite(engine, name, source, files, use)
    return open_delimited(engine, name, source, format, files, use, staged)


def _with_pseudonyms(engine: Engine, name: str, opened: Opened, use: Use) -> Opened:
    """A scan as a table with pseudonyms: to make them in each pass would take many times what a pass takes.

    Types stay those of the files, since no expression names a column of ids.
    """
    if not use.hashed:
        return opened
    select, table = replaced(use.hashed), quoted(f"source_{name}")
    columns = ", ".join(map(quoted, opened.types))
    engine.run(f"CREATE TEMP TABLE {table} AS {select} FROM (SELECT {columns} FROM {opened.table})")
    return Opened(opened.types, table, f"({select} FROM {opened.reader})", opened.place)


def _check_types(name: str, source: SourceConfig, label: str, types: dict[str, str], use: Use) -> None:
    for column, role in use.roles.items():
        kind = types[column]
        if role == "time":
            if needs_unit(kind) and not source.time_unit:
                raise ConfigError(f"graph.sources.{name}.time_unit: column '{column}' is {kind}; expected s, ms or us")
            if not is_time(kind):
                raise DataError(
                    f"{label}: column '{column}' is {kind}; a time is TIMESTAMP, DATE, ISO text or a number of 64 bits"
                )
        elif kind not in _ID_TYPES and not kind.startswith("ENUM"):
            what = {"id": "an id", "label": "a label"}.get(role, "a relation's name")
            raise DataError(
                f"{label}: column '{column}' is {kind}; expected an integer, VARCHAR, UUID or DATE for {what}"
            )
