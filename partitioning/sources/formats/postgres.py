"""PostgreSQL: one table or query of a server, copied into DuckDB a block of rows at a time.

All sources of a server are read within one transaction that sees one moment and can write nothing. Types are the
server's; a column that is used and whose type has no exact counterpart is refused by name.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.csv

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.engine import Engine, literal, quoted, translated
from partitioning.config.sections import GraphConfig, PostgresConfig
from partitioning.sources.formats.frames import frame_label
from partitioning.sources.formats.servers import Servers, asking
from partitioning.sources.layout import Opened, free_names, require_column
from partitioning.sources.pseudonyms import replaced
from partitioning.sources.used import Use

if TYPE_CHECKING:
    import psycopg

_BLOCK_BYTES = 8 << 20  # of rows as text, in memory at a time
_MOST_DIGITS = 38  # of a number that Arrow and DuckDB keep exactly
_PADDED, _NUMERIC = 1042, 1700
# By the numbers that PostgreSQL gives its own types, for good.
_KINDS = {
    16: ("BOOLEAN", pa.bool_()),
    20: ("BIGINT", pa.int64()),
    21: ("SMALLINT", pa.int16()),
    23: ("INTEGER", pa.int32()),
    25: ("VARCHAR", pa.string()),
    700: ("FLOAT", pa.float32()),
    701: ("DOUBLE", pa.float64()),
    _PADDED: ("VARCHAR", pa.string()),
    1043: ("VARCHAR", pa.string()),
    1082: ("DATE", pa.date32()),
    1114: ("TIMESTAMP", pa.timestamp("us")),
    1184: ("TIMESTAMP WITH TIME ZONE", pa.timestamp("us", "UTC")),
    2950: ("UUID", pa.string()),
}
_WRONG = re.compile(r"CSV column #(?P<column>\d+): Row #(?P<row>\d+): (?P<reason>.*)", re.DOTALL)
_VALUE = re.compile(r"(?:invalid value|The string) '(?P<value>.*)'", re.DOTALL)


class _Column(NamedTuple):
    name: str
    type: str
    arrow: pa.DataType
    sql: str


def open_postgres(engine: Engine, servers: Servers, name: str, config: PostgresConfig, use: Use) -> Opened:
    """Reads the used columns into a table.

    Raises ConfigError for SQL that is not right, DataError for a column that is missing or of no type of ours, for a
    value that its type here cannot hold, and for a server that is not there or not there any more.
    """
    connection, label = servers.connection(name, config), frame_label(name)
    rows = _rows(connection, name, config)
    known = _described(connection, name, config, rows)
    used = use.columns(list(known), name)
    for column in used:
        require_column(label, column, known)
    columns = [_column(connection, label, known[column]) for column in used]
    types = {one.name: "VARCHAR" if one.name in use.hashed else one.type for one in columns}
    table, place = quoted(f"source_{name}"), free_names(used)
    _stage(engine, connection, name, rows, columns, types, use)
    kept, (file, row) = ", ".join(map(quoted, used)) or "1", map(quoted, place)
    reader = f"(SELECT {kept}, {literal(label)} AS {file}, row_number() OVER () AS {row} FROM {table})"
    return Opened(types, table, reader, place)


def table_size(name: str, config: PostgresConfig) -> tuple[int, int]:
    """Rows of a source and about how many bytes they are. Raises as `open_postgres`."""
    with Servers() as servers:
        connection = servers.connection(name, config)
        rows = _rows(connection, name, config)
        _described(connection, name, config, rows)
        count, size = _row(connection, name, f"SELECT count(*), sum(pg_column_size(ROW(source.*))) FROM {rows}")
        return int(count), int(size or 0)


def table_states(config: GraphConfig) -> dict[str, Any]:
    """What tells the rows of each PostgreSQL source from others: what the config's `version` selects, or else their
    number and the sum of their hashes, for which the server reads all of them."""
    with Servers() as servers:
        return {
            name: _state(servers.connection(name, source.postgres), name, source.postgres)
            for name, source in config.sources.items()
            if source.postgres
        }


def _state(connection: psycopg.Connection[Any], name: str, config: PostgresConfig) -> dict[str, Any]:
    (database,) = _row(connection, name, "SELECT current_database()")
    if config.version is None:
        rows = _rows(connection, name, config)
        _described(connection, name, config, rows)
        sql = f"SELECT count(*), sum(hashtextextended(ROW(source.*)::text, 0))::text FROM {rows}"
        count, digest = _row(connection, name, sql)
        return {"database": database, "rows": count, "hashes": digest}
    with asking(name, "version"):
        cursor = connection.execute(
            f"SELECT ROW(source.*)::text FROM (\n{config.version}\n) AS source".encode(), binary=True
        )
        found = cursor.fetchmany(2)
    if len(found) != 1:
        raise ConfigError(f"graph.sources.{name}.postgres.version: gives {len(found) or 'no'} rows; expected one row")
    return {"database": database, "version": found[0][0]}


def _rows(connection: psycopg.Connection[Any], name: str, config: PostgresConfig) -> str:
    """What follows FROM: the table by the name that the server gives it, or the query."""
    if config.query is not None:
        return f"(\n{config.query}\n) AS source"
    with asking(name, "table"):
        found = connection.execute("SELECT to_regclass(%s)::text", [config.table]).fetchone()
    if found is None or found[0] is None:
        raise ConfigError(
            f"graph.sources.{name}.postgres.table: there is no table '{config.table}'; expected one as SQL names it, "
            f'such as sales.clicks or "Clicks"'
        )
    return f"{found[0]} AS source"


def _described(
    connection: psycopg.Connection[Any], name: str, config: PostgresConfig, rows: str
) -> dict[str, psycopg.Column]:
    """The columns of a source. The server takes one statement here, so that a query is one SELECT from here on."""
    with asking(name, "query" if config.query else "table"):
        cursor = connection.execute(f"SELECT * FROM {rows} LIMIT 0".encode(), binary=True)
    return {column.name: column for column in cursor.description or ()}


def _column(connection: psycopg.Connection[Any], label: str, column: psycopg.Column) -> _Column:
    """A column with its types here, and how it is asked for. Raises DataError for a type that has no counterpart."""
    oid, name = column.type_code, column.name
    sql = f"{quoted(name)}::text" if oid == _PADDED else quoted(name)
    if oid in _KINDS:
        return _Column(name, *_KINDS[oid], sql)
    digits, scale = column.precision, column.scale
    if oid == _NUMERIC and digits and scale is not None and 0 <= scale <= digits <= _MOST_DIGITS:
        return _Column(name, f"DECIMAL({digits},{scale})", pa.decimal128(digits, scale), sql)
    found = connection.execute("SELECT format_type(%s::oid, NULL)", [oid]).fetchone()
    kind = found[0] if found else oid
    if oid == _NUMERIC:
        kind = f"numeric({digits},{scale})" if digits else "numeric without a number of digits"
    raise DataError(
        f"{label}: column '{name}' is {kind}, which is not kept exactly; use a query that casts it, to bigint, "
        f"numeric({_MOST_DIGITS}, 9), double precision or text"
    )


def _row(connection: psycopg.Connection[Any], name: str, sql: str) -> tuple[Any, ...]:
    """The only row of a question of ours."""
    with asking(name):
        found: tuple[Any, ...] | None = connection.execute(sql.encode()).fetchone()
    assert found is not None
    return found


def _stage(
    engine: Engine,
    connection: psycopg.Connection[Any],
    name: str,
    rows: str,
    columns: list[_Column],
    types: dict[str, str],
    use: Use,
) -> None:
    table, select = quoted(f"source_{name}"), replaced(use.hashed)
    declared = ", ".join(f"{quoted(column)} {type}" for column, type in types.items()) or "one INTEGER"
    engine.run(f"CREATE TEMP TABLE {table} ({declared})")
    columns = columns or [_Column("one", "INTEGER", pa.int32(), "1")]
    sql = f"COPY (SELECT {', '.join(column.sql for column in columns)} FROM {rows}) TO STDOUT (FORMAT csv)"
    for batch in _batches(connection, name, sql, columns):
        with translated():
            engine.connection.register("postgres_batch", batch)
        engine.run(f"INSERT INTO {table} {select} FROM postgres_batch")
        with translated():
            engine.connection.unregister("postgres_batch")


def _batches(connection: psycopg.Connection[Any], name: str, sql: str, columns: list[_Column]) -> Iterator[pa.Table]:
    """Rows as tables; a message of the server is a row, so that a block ends with one."""
    block, first, count = io.BytesIO(), 0, 0
    with asking(name), connection.cursor() as cursor, cursor.copy(sql.encode()) as copy:
        for message in copy:
            block.write(message)
            count += 1
            if block.tell() >= _BLOCK_BYTES:
                yield _table(name, block, columns, first)
                block, first = io.BytesIO(), count
    if count > first:
        yield _table(name, block, columns, first)


def _table(name: str, block: io.BytesIO, columns: list[_Column], first: int) -> pa.Table:
    """A block of CSV, in which only nulls are empty without quotes, as Arrow."""
    size = block.tell()
    block.seek(0)
    try:
        return pyarrow.csv.read_csv(
            block,
            pyarrow.csv.ReadOptions(
                column_names=[column.name for column in columns], use_threads=False, block_size=size + 1
            ),
            pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            pyarrow.csv.ConvertOptions(
                column_types={column.name: column.arrow for column in columns},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
    except pa.ArrowInvalid as error:
        raise _wrong_value(name, columns, first, str(error)) from error


def _wrong_value(name: str, columns: list[_Column], first: int, said: str) -> DataError:
    if not (found := _WRONG.search(said)):
        raise AssertionError(f"rows of source '{name}' are no CSV: {said}")
    column, row = columns[int(found["column"])], first + int(found["row"])
    value = _VALUE.search(found["reason"])
    what = f"has '{value['value']}'" if value else f"cannot be read ({found['reason']})"
    return DataError(f"{frame_label(name)}, row {row}: column '{column.name}' {what}; expected {column.type}")
