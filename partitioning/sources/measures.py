"""What checks measure on the sources, while these are open."""

from collections.abc import Iterable

import duckdb

from artifacts.errors import ConfigError
from artifacts.expressions.engine import Engine, quoted
from partitioning.config.data_checks import CheckConfig
from partitioning.sources.queries import query_tables
from partitioning.sources.table import Source

Measured = dict[str, float | None]  # by label; None where SQL gives no number


def measure(
    engine: Engine, checks: Iterable[CheckConfig], sources: dict[str, Source], known: Iterable[str]
) -> Measured:
    """Measures what sources alone can say; `known` are the names of all in the config.

    A check of a source that is not read, having no new file, has no value. Raises ConfigError for SQL that DuckDB does
    not accept, or that returns something else than one number.
    """
    found: Measured = {}
    for index, check in enumerate(checks):
        if check.kind == "sql" and check.sql is not None:
            path = f"checks[{index}].sql"
            read = query_tables(engine, check.sql, path, known)
            if all(name in sources for name in read):
                tables = {name: sources[name].table for name in read}
                found[check.label] = _number(engine, check.sql, tables, path)
        elif check.source in sources and check.kind in ("null_rate", "duplicate_rate"):
            source = sources[check.source]
            found[check.label] = _share(engine, _repeated(check, source) if check.columns else _missing(check, source))
    return found


def _missing(check: CheckConfig, source: Source) -> str:
    return f"SELECT count(*), count(*) - count({quoted(check.column or '')}) FROM {source.table}"


def _repeated(check: CheckConfig, source: Source) -> str:
    columns = ", ".join(map(quoted, check.columns))
    return (
        f"SELECT sum(n)::BIGINT, sum(n - 1)::BIGINT FROM (SELECT count(*) AS n FROM {source.table} GROUP BY {columns})"
    )


def _share(engine: Engine, sql: str) -> float:
    rows, some = engine.row(sql)
    return some / rows if rows else 0.0


def _number(engine: Engine, sql: str, tables: dict[str, str], path: str) -> float | None:
    named = ", ".join(f"{quoted(name)} AS (SELECT * FROM {table})" for name, table in tables.items())
    select = f"SELECT * FROM ({sql.rstrip().rstrip(';')}) LIMIT 2"
    try:
        result = engine.connection.execute(f"WITH {named} {select}" if tables else select)
        types, rows = [column[1] for column in result.description or ()], result.fetchall()
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ConversionException) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).partition('LINE')[0].split())}") from error
    if len(rows) != 1 or len(rows[0]) != 1:
        raise ConfigError(f"{path}: returned {len(rows)} rows of {len(types)} columns; expected one number")
    value = rows[0][0]
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{path}: returned {types[0]}; expected one number") from None
