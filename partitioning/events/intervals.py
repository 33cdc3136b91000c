"""Consent as intervals: an event counts if its time lies within one in which the person had opted in."""

from dataclasses import replace

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine, quoted, text
from partitioning.config.sections import ConsentConfig
from partitioning.events.plausible import odd_time, time_error
from partitioning.sources.diagnosis import row_of
from partitioning.sources.epochs import epoch_of, nanoseconds_of
from partitioning.sources.table import Source

_EVER = f"CAST({10**30} AS HUGEINT)"  # nanoseconds: later than any time, and before any as a negative


def opted_in(engine: Engine, consent: ConsentConfig, source: Source, path: str) -> str:
    """A query of (id, since, until): the intervals [since, until) of a source, in nanoseconds since 1970.

    Raises DataError, naming the row, for a bound that is no time or can hardly be meant, and for an interval that ends
    before it begins, and ConfigError when all bounds are those of a coarser unit than the config says.
    """
    assert consent.column and consent.from_column and consent.to_column
    rows = f"({consent.about or 'true'}) AND {quoted(consent.column)} IS NOT NULL"
    for column in (consent.from_column, consent.to_column):
        _check_bound(engine, source, column, f"{rows} AND {quoted(column)} IS NOT NULL")
    since, until = (_nanoseconds(source, column) for column in (consent.from_column, consent.to_column))
    _check_order(engine, consent, source, f"{rows} AND {until} < {since}", path)
    return (
        f"SELECT DISTINCT {text(consent.column)} AS id, coalesce({since}, -{_EVER}) AS since, "
        f"coalesce({until}, {_EVER}) AS until FROM {source.table} WHERE {rows}"
    )


def within(table: str, source: Source, ids: list[str]) -> Source:
    """The rows of a source whose time lies within an interval of `opted_in`, for each of its columns of ids.

    (As semi joins: in a correlated subquery, which is slower, too, DuckDB takes a column called "user" for a function.)
    """
    assert source.config.time_column
    moment, *people = (quoted(_free(name, source)) for name in ("moment", *(f"person of {id}" for id in ids)))
    computed = [f"{_nanoseconds(source, source.config.time_column)} AS {moment}"]
    computed += [f"{text(id)} AS {person}" for id, person in zip(ids, people, strict=True)]

    def rows(of: str) -> str:
        of = f"(SELECT {', '.join(computed)}, * FROM {of})"  # of names that are alike, the first counts
        for person in people:
            held = f"c.id = e.{person} AND c.since <= e.{moment} AND e.{moment} < c.until"
            of = f"(SELECT e.* FROM {of} e SEMI JOIN {table} c ON {held})"
        return of

    return replace(source, table=rows(source.table), reader=rows(source.reader))


def _free(name: str, source: Source) -> str:
    """A name that no used column of the source has."""
    taken = {column.casefold() for column in source.types}
    while name.casefold() in taken:
        name += "_"
    return name


def _nanoseconds(source: Source, column: str) -> str:
    return nanoseconds_of(column, source.config.time_unit, source.types[column])


def _check_bound(engine: Engine, source: Source, column: str, rows: str) -> None:
    """Raises DataError or ConfigError for bounds that can hardly be meant. A 0 stands for no time in many tables."""
    time = epoch_of(column, source.config.time_unit, source.types[column])
    dated = replace(source, time=time, config=source.config.model_copy(update={"time_column": column}))
    if odd := odd_time(engine, dated, rows):
        error = time_error(engine, dated, rows, odd)
        raise type(error)(f"{error}, or no value where an interval has no such end")
    zero = f"{rows} AND {time} = 0"
    if engine.rows(f"SELECT 1 FROM {source.table} WHERE {zero} LIMIT 1"):
        raise DataError(
            f"{row_of(engine, source, zero)}: column '{column}' is 1970-01-01 00:00:00; expected a later time, or no "
            "value where an interval has no such end"
        )


def _check_order(engine: Engine, consent: ConsentConfig, source: Source, reversed: str, path: str) -> None:
    columns = f"{text(consent.from_column or '')}, {text(consent.to_column or '')}"
    for since, until in engine.rows(f"SELECT {columns} FROM {source.table} WHERE {reversed} ORDER BY ALL LIMIT 1"):
        same = f"{text(consent.from_column or '')} = '{since}' AND {text(consent.to_column or '')} = '{until}'"
        raise DataError(
            f"{row_of(engine, source, f'{reversed} AND {same}')}: an interval that begins at {since} ends before, at "
            f"{until}; expected {path}.to_column not before {path}.from_column"
        )
