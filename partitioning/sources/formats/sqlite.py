"""SQLite: one table or query of a database file, read by the standard library and never written.

The rows are staged in DuckDB, a batch at a time. SQLite gives types to values and not to columns, so a column that is
used must hold one kind of them: integers, numbers or text.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.column_types import NO_TYPE
from artifacts.expressions.engine import Engine, literal, quoted, translated
from artifacts.sources.source_files import Files
from partitioning.config.sections import SourceConfig
from partitioning.sources.layout import Opened, free_names, require_column
from partitioning.sources.pseudonyms import replaced
from partitioning.sources.used import Use

_BATCH = 1 << 16
_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
_CHANCE = ("random", "randomblob")
_KINDS = {
    frozenset({"integer"}): ("BIGINT", pa.int64()),
    frozenset({"real"}): ("DOUBLE", pa.float64()),
    frozenset({"integer", "real"}): ("DOUBLE", pa.float64()),
    frozenset({"text"}): ("VARCHAR", pa.string()),
    frozenset(): (NO_TYPE, pa.null()),
}


def count_rows(name: str, source: SourceConfig, path: Path) -> int:
    """Rows of a source. Raises DataError for a database that cannot be read, ConfigError for SQL that is not right."""
    with _database(path, name) as database:
        (count,) = database.execute(f"SELECT count(*) FROM {_table(source)}").fetchone()
        return int(count)


def open_sqlite(engine: Engine, name: str, source: SourceConfig, files: Files, use: Use) -> Opened:
    """Reads the used columns into a table.

    Raises DataError for a column that is missing or holds more than one kind of value.
    """
    path = next(iter(files))
    with _database(path, name) as database:
        cursor = database.execute(f"SELECT * FROM {_table(source)} LIMIT 0")
        known = [column[0] for column in cursor.description]
        columns = use.columns(known, name)
        for column in columns:
            require_column(f"{path}: source '{name}'", column, known)
        kinds = {column: _kind(database, name, source, path, column) for column in columns}
        table, place = quoted(f"source_{name}"), free_names(columns)
        types = {column: "VARCHAR" if column in use.hashed else type for column, (type, _) in kinds.items()}
        _stage(engine, database, source, table, types, kinds, replaced(use.hashed))
    kept, (file, row) = ", ".join(map(quoted, columns)) or "1", map(quoted, place)
    reader = f"(SELECT {kept}, {literal(str(path))} AS {file}, row_number() OVER () AS {row} FROM {table})"
    return Opened(types, table, reader, place)


def _stage(
    engine: Engine,
    database: sqlite3.Connection,
    source: SourceConfig,
    table: str,
    types: dict[str, str],
    kinds: dict[str, tuple[str, pa.DataType]],
    select: str,
) -> None:
    schema = pa.schema([(column, arrow) for column, (_, arrow) in kinds.items()] or [("none", pa.int64())])
    declared = ", ".join(f"{quoted(column)} {'INTEGER' if type == NO_TYPE else type}" for column, type in types.items())
    engine.run(f"CREATE TEMP TABLE {table} ({declared or 'one INTEGER'})")
    cursor = database.execute(f"SELECT {', '.join(map(quoted, kinds)) or '1'} FROM {_table(source)}")
    while rows := cursor.fetchmany(_BATCH):
        arrays = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
        with translated():
            engine.connection.register("sqlite_batch", pa.Table.from_arrays(arrays, schema=schema))
        engine.run(f"INSERT INTO {table} {select} FROM sqlite_batch")
        with translated():
            engine.connection.unregister("sqlite_batch")


def _kind(
    database: sqlite3.Connection, name: str, source: SourceConfig, path: Path, column: str
) -> tuple[str, pa.DataType]:
    sql = f"SELECT DISTINCT typeof({quoted(column)}) FROM {_table(source)}"
    found = frozenset(row[0] for row in database.execute(sql)) - {"null"}
    if found not in _KINDS:
        kinds = " and ".join(sorted(found))
        raise DataError(
            f"{path}: column '{column}' of source '{name}' holds {kinds}; expected integers, numbers or text alone "
            f"(a query may CAST it)"
        )
    return _KINDS[found]


def _table(source: SourceConfig) -> str:
    return quoted(source.table) if source.table else f"({source.query})"


@contextmanager
def _database(path: Path, name: str) -> Iterator[sqlite3.Connection]:
    """A database that nothing can change; its file is all that is read."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise DataError(f"{log}: holds changes that are not in the database yet; checkpoint it, or close who writes it")
    database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
    database.set_authorizer(_authorize)
    try:
        yield database
    except (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.Warning) as error:
        if "decode" in str(error):
            raise DataError(f"{path}: holds text that is not UTF-8; expected UTF-8") from error
        raise ConfigError(f"graph.sources.{name}: {error}; expected a table, or one SELECT, of {path}") from error
    except (sqlite3.Error, OverflowError) as error:
        raise DataError(f"{path}: the database is damaged ({error}); copy it again") from error
    finally:
        database.close()


def _authorize(action: int, first: str | None, second: str | None, *where: str | None) -> int:
    """Reading alone, and nothing that differs from one reading to the next."""
    chance = action == sqlite3.SQLITE_FUNCTION and second in _CHANCE
    return sqlite3.SQLITE_OK if action in _ALLOWED and not chance else sqlite3.SQLITE_DENY
