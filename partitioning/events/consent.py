"""Consent is a history of answers, of which each person's latest counts, or intervals in which people had opted in."""

from collections.abc import Iterator
from dataclasses import dataclass

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine, literal, quoted, text
from artifacts.moment import YEAR_2200
from partitioning.config.sections import ConsentConfig, GraphConfig
from partitioning.events.intervals import opted_in, within
from partitioning.sources.diagnosis import row_of
from partitioning.sources.epochs import epoch_of
from partitioning.sources.table import Source, check_expression, floats_of


@dataclass(frozen=True)
class Consented:
    """What consent leaves of a source's rows.

    Attributes:
        before: all its rows
        ids: its columns of ids that need consent
        people: SQL conditions of the rows of those who agree, or ever did
        source: its rows where consent holds for intervals; else `before`
    """

    before: Source
    ids: tuple[str, ...]
    people: tuple[str, ...]
    source: Source


@dataclass(frozen=True)
class Agreed:
    """Those who agree: a table `(id)`, or with `intervals` one of (id, since, until)."""

    table: str
    intervals: bool

    def consented(self, source: Source, ids: list[str]) -> Consented:
        people = tuple(f"{text(id)} IN (SELECT id FROM {self.table})" for id in ids)
        left = within(self.table, source, ids) if self.intervals else source
        return Consented(source, tuple(ids), people, left)


def agreeing(engine: Engine, config: GraphConfig, sources: dict[str, Source]) -> dict[ConsentConfig, Agreed]:
    """Those who agree, by consent: whoever has no answer, or another than a yes, is in none.

    Raises ConfigError for a condition that is not one, and DataError, naming the row, for an answer that is neither yes
    nor no, one without a time where times count, a person who says both where they do not, and an interval that is
    none.
    """
    agreed: dict[ConsentConfig, Agreed] = {}
    for index, relation in enumerate(config.relations):
        consent = config.consent_of(relation)
        if consent is None or consent.source is None or consent in agreed:
            continue
        agreed[consent] = Agreed(f"consent_{len(agreed)}", consent.intervals)
        people = _people(engine, consent, sources[consent.source], config.consent_path(index))
        engine.run(f"CREATE TEMP TABLE {agreed[consent].table} AS {people}")
    return agreed


def _people(engine: Engine, consent: ConsentConfig, source: Source, path: str) -> str:
    """The query of an `Agreed`, what it is asked of checked."""
    check_question(engine, consent, source, path)
    if consent.intervals:
        return opted_in(engine, consent, source, path)
    return Answers(engine, consent, source, path).checked()


def check_question(engine: Engine, consent: ConsentConfig, source: Source, path: str) -> None:
    """Raises ConfigError for an `about` or `where` that is no condition over the columns of a source."""
    for key, sql in (("about", consent.about), ("where", consent.where)):
        if sql is not None:
            check_expression(engine, source, sql, f"{path}.{key}", "a boolean")


class Answers:
    """The answers to a consent's question in its source, as SQL on the columns of that.

    Attributes:
        rows: a query of (id, yes, time) of each answer; `time` is missing where times do not count
    """

    def __init__(self, engine: Engine, consent: ConsentConfig, source: Source, path: str) -> None:
        assert consent.column is not None
        self._engine, self._consent, self._source, self._path = engine, consent, source, path
        self._id = text(consent.column)
        self._rows = f"({consent.about or 'true'}) AND {quoted(consent.column)} IS NOT NULL"
        self._yes, self._time = self._says_yes(), source.time
        if column := consent.time_column:
            self._time = epoch_of(column, source.config.time_unit, source.types[column])
        self.rows = (
            f"SELECT {self._id} AS id, {self._yes} AS yes, CAST({self._time or 'NULL'} AS BIGINT) AS time "
            f"FROM {source.table} WHERE {self._rows}"
        )

    def checked(self) -> str:
        """A query of the ids of those who agree. Raises DataError for what is no answer."""
        self.check_each()
        if self._time is None:
            self._check_agreement()
            return self._people("bool_and(yes)")
        return self._people("max(time) FILTER (WHERE yes) > coalesce(max(time) FILTER (WHERE NOT yes), 0)")

    def check_each(self) -> None:
        """Raises DataError for an answer that is none by itself."""
        self._check_listed()
        if self._time is not None:
            self._check_times(self._time)

    def _says_yes(self) -> str:
        consent, yes = self._consent, "true"
        if consent.answer:
            yes = f"{text(consent.answer)} IN ({', '.join(map(literal, consent.yes))})"
        elif consent.where:
            yes = f"coalesce(CAST(({consent.where}) AS BOOLEAN), false)"
        return f"({' AND '.join([yes, *self._no_nan()])})"

    def _no_nan(self) -> Iterator[str]:
        """Conditions that no number that was asked for is NaN: it stands for no answer, as a null does, and DuckDB says
        that it is more than any number. What only one branch of a CASE can compute has no value beside it (TRY)."""
        for key, sql in (("where", self._consent.where), ("about", self._consent.about)):
            for number in floats_of(self._engine, self._source, sql, f"{self._path}.{key}") if sql else ():
                yield f"NOT coalesce(isnan(TRY({number})), false)"

    def _people(self, condition: str) -> str:
        return f"SELECT id FROM ({self.rows}) GROUP BY id HAVING {condition}"

    def _first(self, condition: str) -> str:
        return row_of(self._engine, self._source, f"{self._rows} AND {condition}")

    def _value(self, sql: str, condition: str) -> str | None:
        """The value of the first row that meets a condition, in the order of values; None if none does."""
        rows = f"SELECT min({sql}) FROM {self._source.table} WHERE {self._rows} AND {condition}"
        value: str | None = self._engine.row(rows)[0]
        return value

    def _check_listed(self) -> None:
        consent = self._consent
        if consent.answer is None:
            return
        answer, listed = text(consent.answer), [*consent.yes, *consent.no]
        other = f"{answer} NOT IN ({', '.join(map(literal, listed))})"
        if (value := self._value(answer, other)) is not None:
            where = self._first(f"{answer} = {literal(value)}")
            expected = f"one of {self._path}.yes ({', '.join(consent.yes)}) and no ({', '.join(consent.no)})"
            raise DataError(f"{where}: column '{consent.answer}' has '{value}'; expected {expected}")
        self._check_missing(consent.answer)

    def _check_missing(self, column: str) -> None:
        missing = f"{quoted(column)} IS NULL"
        if self._engine.rows(f"SELECT 1 FROM {self._source.table} WHERE {self._rows} AND {missing} LIMIT 1"):
            where = self._first(missing)
            raise DataError(f"{where}: no value in column '{column}' of the answers; expected one ({self._path})")

    def _check_agreement(self) -> None:
        """Raises DataError for a person who says yes and no: nobody knows which came last.

        The message names the row and not the person, since the log of a run keeps it.
        """
        both = self._people("bool_or(yes) AND NOT bool_and(yes)")
        (id,) = self._engine.row(f"SELECT min(id) FROM ({both})")
        if id is not None:
            raise self.says_both(id)

    def says_both(self, id: str) -> DataError:
        """The error for the first row in which a person who agrees elsewhere does not."""
        where = row_of(self._engine, self._source, self.disagrees(id))
        return DataError(
            f"{where}: does not agree, but another row of the same '{self._consent.column}' does; expected one "
            f"answer each, or {self._path}.time_column, so that the latest counts"
        )

    def disagrees(self, id: str) -> str:
        """SQL condition of the rows in which a person does not agree."""
        return f"{self._rows} AND {self._id} = {literal(id)} AND NOT {self._yes}"

    def _check_times(self, time: str) -> None:
        column = self._consent.time_column or self._source.config.time_column or ""
        self._check_missing(column)
        # A 0 stands for no time in many logs, and would make a no older than any yes.
        odd = f"({time} IS NULL OR {time} NOT BETWEEN 1 AND {YEAR_2200 - 1})"
        if (value := self._value(text(column), odd)) is not None:
            where = self._first(f"{odd} AND {text(column)} = {literal(value)}")
            raise DataError(
                f"{where}: column '{column}' has '{value}'; expected a time after 1970-01-01 and before 2200"
            )
