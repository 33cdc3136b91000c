"""A source as a table that DuckDB can scan, its columns and types checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.lib import ArrowException

from artifacts.errors import ConfigError, DataError
from artifacts.section import did_you_mean
from partitioning.config.sections import Format, GraphConfig, SourceConfig
from partitioning.sources.engine import Engine, literal, quoted
from partitioning.sources.files import check_file, damaged, file_format
from partitioning.sources.frames import Frames, attach, frame_label, numbered

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_INTEGER_TYPES = {*_INTEGERS, *(f"U{name}" for name in _INTEGERS)}
_ID_TYPES = {*_INTEGER_TYPES, "VARCHAR", "UUID", "DATE"}
_DIVISOR = {"s": 1, "ms": 1000, "us": 1_000_000}


@dataclass(frozen=True)
class Source:
    """A source that is ready to be scanned.

    `table` is what follows FROM; `reader` scans the files themselves and adds filename and row, for error messages;
    `label` is what these say where no row is to be named.
    `time` is the SQL of the event's epoch seconds, None without a time column.
    """

    name: str
    config: SourceConfig
    label: str
    types: dict[str, str]
    table: str
    reader: str
    time: str | None


def open_sources(
    engine: Engine,
    config: GraphConfig,
    files: dict[str, list[Path]],
    frames: Frames,
    counted: Mapping[str, dict[str, str]],
    staged: bool = True,
) -> dict[str, Source]:
    """Opens the sources that the config uses, from `frames` or else from `files`.

    Raises DataError for broken files, columns and types.

    `counted` has the column types of sources of which other files were counted before: those of all files agree.
    `staged` reads texts into tables at once; a look at a single column needs none.
    """
    used = _used_columns(config)
    opened = {}
    for name in (name for name in config.sources if name in used):
        if name in frames:
            opened[name] = _open_frame(engine, config, name, frames[name], used[name])
        elif files[name]:
            opened[name] = _open(engine, config, name, files[name], used[name], counted.get(name, {}), staged)
    return opened


def has_rows(engine: Engine, source: Source) -> bool:
    """Whether a source has a row. Of a text without one, DuckDB cannot tell the types."""
    return engine.rows(f"SELECT 1 FROM {source.table} LIMIT 1") != []


def _used_columns(config: GraphConfig) -> dict[str, dict[str, str]]:
    """Of each source that is used: the role ('id', 'relation' or 'time') of each column that the config names."""
    used: dict[str, dict[str, str]] = {}
    for relation in config.relations:
        for name in relation.sources:
            roles = used.setdefault(name, {})
            if relation.relation_column:
                roles[relation.relation_column] = "relation"
            roles.update({side.column: "id" for side in relation.sides.values()})
        for join in (side.join for side in relation.sides.values() if side.join):
            used.setdefault(join.source, {}).update({join.column: "id", join.to: "id"})
        consent = config.consent_of(relation)
        if consent and consent.source and consent.column:
            used.setdefault(consent.source, {})[consent.column] = "id"
    if config.forget:
        used.setdefault(config.forget.source, {}).update({config.forget.type_column: "id", config.forget.column: "id"})
    for name, roles in used.items():
        if column := config.sources[name].time_column:
            roles[column] = "time"
    return used


def _open(
    engine: Engine,
    config: GraphConfig,
    name: str,
    files: list[Path],
    used: dict[str, str],
    counted: dict[str, str],
    staged: bool,
) -> Source:
    source = config.sources[name]
    format = file_format(name, source, files)
    for path in files:
        check_file(path, format)
    types = _described(engine, name, source, format, files, used)
    scan = _scan(source, format, files, {})
    if format == "parquet":
        _check_counted(files[0], types, counted)
    else:  # text has no types of its own: what was once read as a number stays one
        kept = {column: kind for column, kind in counted.items() if column in types}
        overrides = {**kept, **_text_types(source, format, {**types, **kept}, used)}
        types = {**types, **overrides}
        scan = _scan(source, format, files, overrides if format != "jsonl" else types)
    _check_types(name, source, str(files[0]), types, used)
    return Source(
        name=name,
        config=source,
        label=str(files[0]),
        types=types,
        table=_staged(engine, config, name, scan, types, used) if staged and format != "parquet" else scan,
        reader=_reader(source, format, files, types),
        time=_time(source, types),
    )


def _open_frame(engine: Engine, config: GraphConfig, name: str, frame: pa.Table, used: dict[str, str]) -> Source:
    """A frame is read once, into a table: so conditions are DuckDB's alone, and none is handed to Arrow."""
    source, view = config.sources[name], attach(engine, name, frame)
    types = engine.columns(f"SELECT * FROM {view}")
    _require_columns(frame_label(name), types, used)
    _check_types(name, source, frame_label(name), types, used)
    return Source(
        name=name,
        config=source,
        label=frame_label(name),
        types=types,
        table=_staged(engine, config, name, view, types, used),
        reader=numbered(name, view),
        time=_time(source, types),
    )


def _described(
    engine: Engine, name: str, source: SourceConfig, format: Format, files: list[Path], used: Iterable[str]
) -> dict[str, str]:
    """Columns and types as DuckDB finds them. Raises DataError for missing columns and files that disagree."""
    if format == "parquet":
        _check_schemas(files)
    if format in ("csv", "tsv"):  # DuckDB looks at some of the headers only
        for path in files[1:]:
            _check_columns(
                name, source, path, engine.columns(f"SELECT * FROM {_scan(source, format, [path], {})}"), used
            )
    types = engine.columns(f"SELECT * FROM {_scan(source, format, files, {})}")
    _check_columns(name, source, files[0], types, used)
    return types


def _scan(source: SourceConfig, format: Format, files: list[Path], types: dict[str, str], extra: str = "") -> str:
    """DuckDB's table function for the files; `types` overrides what DuckDB would guess for text."""
    paths = literal([str(path) for path in files])
    struct = "{" + ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items()) + "}"
    if format == "parquet":
        return f"read_parquet({paths}{extra})"
    if format == "jsonl":
        typed = f", columns = {struct}" if types else ", union_by_name = true, sample_size = 100000"
        return f"read_json({paths}, format = 'newline_delimited'{typed}{extra})"
    # A TSV has no quoting: PBG and OpenKE split it at tabs.
    quote = "'\"'" if format == "csv" else "''"
    delimiter = "," if format == "csv" else "\t"
    names = f"header = false, names = {literal(source.columns)}" if source.columns else "header = true"
    typed = f", types = {struct}" if types else ""
    return f"read_csv({paths}, delim = '{delimiter}', quote = {quote}, escape = {quote}, {names}{typed}{extra})"


def _reader(source: SourceConfig, format: Format, files: list[Path], types: dict[str, str]) -> str:
    """The files with columns `filename` and `row_in_file` (from 1); slow for text, so only for error messages."""
    if format == "parquet":
        scan = _scan(source, format, files, {}, ", filename = true")
        return f"(SELECT *, file_row_number + 1 AS row_in_file FROM {scan})"
    scan = _scan(source, format, files, types, ", filename = true")
    return f"(SELECT *, row_number() OVER (PARTITION BY filename) AS row_in_file FROM {scan})"


def _check_schemas(files: list[Path]) -> None:
    """Raises DataError unless all Parquet files have the columns of the first, with the same types."""
    expected: dict[str, str] = {}
    for path in files:
        found = _parquet_types(path)
        expected = expected or found
        for column, kind in expected.items():
            if found.get(column) != kind:
                has = f"is {found[column]}" if column in found else "is missing"
                raise DataError(f"{path}: column '{column}' {has}, but {kind} in {files[0]}; files of a source agree")


def _check_counted(path: Path, types: dict[str, str], counted: dict[str, str]) -> None:
    for column, kind in counted.items():
        if types.get(column) != kind:
            has = f"is {types[column]}" if column in types else "is missing"
            raise DataError(f"{path}: column '{column}' {has}, but {kind} in the files counted before; files agree")


def _parquet_types(path: Path) -> dict[str, str]:
    try:
        schema = pq.read_metadata(path).schema
    except (ArrowException, OSError) as error:
        raise damaged(path, error) from error
    columns = map(schema.column, range(len(schema)))
    return {
        column.path: column.physical_type if column.logical_type.type == "NONE" else str(column.logical_type)
        for column in columns
    }


def _check_columns(name: str, source: SourceConfig, file: Path, types: Iterable[str], used: Iterable[str]) -> None:
    known = list(types)
    if source.columns and len(known) != len(source.columns):
        raise DataError(
            f"{file}: has {len(known)} columns, but graph.sources.{name}.columns names {len(source.columns)}"
        )
    _require_columns(f"{file}: source '{name}'", known, used)


def _require_columns(label: str, types: Iterable[str], used: Iterable[str]) -> None:
    known = list(types)
    for column in used:
        if column not in known:
            near = did_you_mean(column, known)
            listed = "" if near.startswith(" (") else f" (known: {', '.join(sorted(known))})"
            raise DataError(f"{label} has no column '{column}'{near}{listed}")


def _text_types(source: SourceConfig, format: Format, types: dict[str, str], used: dict[str, str]) -> dict[str, str]:
    """Types that are forced on text columns: ids stay text ('007' is not 7), times are what the config says."""
    forced = {}
    for column, role in used.items():
        if role == "time":
            forced[column] = "BIGINT" if source.time_unit else "TIMESTAMP WITH TIME ZONE"
        elif format != "jsonl" or types[column] in _ID_TYPES or types[column].startswith("TIMESTAMP"):
            forced[column] = "VARCHAR"
    return forced


def _check_types(name: str, source: SourceConfig, label: str, types: dict[str, str], used: dict[str, str]) -> None:
    for column, role in used.items():
        kind = types[column]
        if role == "time":
            if kind in _INTEGER_TYPES and not source.time_unit:
                raise ConfigError(f"graph.sources.{name}.time_unit: column '{column}' is {kind}; expected s, ms or us")
            if kind not in _INTEGER_TYPES and kind not in ("DATE", "VARCHAR") and not kind.startswith("TIMESTAMP"):
                raise DataError(
                    f"{label}: column '{column}' is {kind}; a time is TIMESTAMP, DATE, ISO text or an integer"
                )
        elif kind not in _ID_TYPES and not kind.startswith("ENUM"):
            what = "an id" if role == "id" else "a relation's name"
            raise DataError(
                f"{label}: column '{column}' is {kind}; expected an integer, VARCHAR, UUID or DATE for {what}"
            )


def _staged(
    engine: Engine, config: GraphConfig, name: str, scan: str, types: dict[str, str], used: dict[str, str]
) -> str:
    """Reads a scan into a table and returns its name: to parse text twice costs more than to keep it.

    Columns that are neither used nor mentioned in any `where` or `weight` are left out.
    """
    conditions = [sql for relation in config.relations for sql in (relation.where, relation.weight)]
    conditions += [consent.where for relation in config.relations if (consent := config.consent_of(relation))]
    text = " ".join(condition.lower() for condition in conditions if condition)
    kept = [quoted(column) for column in types if column in used or column.lower() in text]
    table = quoted(f"source_{name}")
    engine.run(f"CREATE TEMP TABLE {table} AS SELECT {', '.join(kept)} FROM {scan}")
    return table


def _time(source: SourceConfig, types: dict[str, str]) -> str | None:
    if not source.time_column:
        return None
    column = quoted(source.time_column)
    kind = types[source.time_column]
    if kind in _INTEGER_TYPES and source.time_unit:
        return f"CAST({column} AS BIGINT) // {_DIVISOR[source.time_unit]}"
    if kind == "VARCHAR":  # what is no time becomes NULL, which check_times reports
        column = f"TRY_CAST({column} AS TIMESTAMP WITH TIME ZONE)"
    return f"epoch_us({column}) // 1000000"
