"""Lists on Spark: rows that another source has, too, are marked, ids looked up, people asked whether they agreed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from artifacts.expressions.engine import Engine, quoted, text
from artifacts.formats.graph import Side
from partitioning.config.sections import ConsentConfig, GraphConfig, JoinConfig
from partitioning.events.consent import Answers
from partitioning.sources.table import Source
from partitioning.spark.files import ListRows, SourceFiles, listed_value

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

Query = Callable[[Engine, Source], str]


class Lookups:
    """The lists of a graph, as DataFrames of the rows of their sources."""

    def __init__(self, session: SparkSession, config: GraphConfig, files: SourceFiles) -> None:
        self._session, self._config, self._files = session, config, files

    def marked(self, rows: DataFrame) -> DataFrame:
        """EVENT_ROWS with their ids looked up, and three columns more.

        `removed` are rows that `without` leaves out, `refused` those of people who did not agree, also where a row
        names nobody (`nobody`).
        """
        rows = self._without(rows)
        for side in Side:
            rows = self._joined(rows, side)
        return self._asked(rows)

    def both_answers(self, consent: ConsentConfig, path: str) -> str | None:
        """A person who says yes and no; None if nobody does."""
        by_person = self._answers(consent, path).groupBy("id")
        said = by_person.agg(F.bool_or("yes").alias("some"), F.bool_and("yes").alias("all"))
        found: str | None = said.where(F.col("some") & ~F.col("all")).agg(F.min("id")).collect()[0][0]
        return found

    def _without(self, rows: DataFrame) -> DataFrame:
        lists = [
            (one.source, one.columns) if (one := relation.without) and one.source in self._files.types else None
            for relation in self._config.relations
        ]
        if not any(lists):
            return rows.withColumn("removed", F.lit(False))
        tables = [
            self._listed(source, partial(_listed, columns), "value string").distinct()
            for source, columns in _each(lists)
        ]
        there = _numbered(tables).withColumnsRenamed({"list": "there"})
        same = (_of_relation(_positions(lists)) == there["there"]) & (rows["listed"] == there["value"])
        found = rows.join(there, same, "left")
        return found.withColumn("removed", F.col("there").isNotNull()).drop("there", "value")

    def _joined(self, rows: DataFrame, side: Side) -> DataFrame:
        """A row becomes one row for each partner, and none where it has no partner."""
        joins = [relation.side(side).join for relation in self._config.relations]
        if not any(joins):
            return rows
        tables = [
            self._listed(join.source, partial(_partners, join), "partner string, found string").distinct()
            for join in _each(joins)
        ]
        there, id = _numbered(tables), F.col(str(side))
        asked = F.when(~F.col("removed"), _of_relation(_positions(joins)))
        rows = rows.withColumn("asked", asked)
        found = rows.join(there, (rows["asked"] == there["list"]) & (id == there["partner"]), "left")
        found = found.where("asked IS NULL OR list IS NOT NULL").withColumn(str(side), F.coalesce("found", id))
        return found.drop("asked", "list", "partner", "found")

    def _asked(self, rows: DataFrame) -> DataFrame:
        """A left join finds each person once: whoever agrees stands once in a list."""
        config, refused, nobody = self._config, F.lit(False), F.lit(False)
        consents = [config.consent_of(relation) for relation in config.relations]
        asked = [consent if consent and consent.source else None for consent in consents]
        if any(asked):
            agreed = _numbered([self._agreeing(consent, asked) for consent in _each(asked)])
            for side in Side:
                types = [relation.side(side).type for relation in config.relations]
                of_side = [one if one and one.type == type else None for one, type in zip(asked, types, strict=True)]
                at = [None if one is None else list(_each(asked)).index(one) for one in of_side]
                there = agreed.select(F.col("list").alias(f"list_{side}"), F.col("id").alias(f"agreed_{side}"))
                id, wanted = F.col(str(side)), _of_relation(at)
                rows = rows.join(there, (wanted == there[f"list_{side}"]) & (id == there[f"agreed_{side}"]), "left")
                refused = refused | (wanted.isNotNull() & F.col(f"list_{side}").isNull())
                nobody = nobody | (wanted.isNotNull() & id.isNull())
        rows = rows.withColumn("refused", ~F.col("removed") & refused).withColumn("nobody", nobody)
        return rows.drop(*(f"{name}_{side}" for name in ("list", "agreed") for side in Side))

    def _agreeing(self, consent: ConsentConfig, asked: Sequence[ConsentConfig | None]) -> DataFrame:
        """The ids of those who agree, see `events.consent`."""
        said = self._answers(consent, self._config.consent_path(asked.index(consent)))
        time = F.col("time")
        latest = F.max(F.when(F.col("yes"), time)) > F.coalesce(F.max(F.when(~F.col("yes"), time)), F.lit(0))
        agrees = F.when(F.count("time") > 0, latest).otherwise(F.bool_and("yes"))
        return said.groupBy("id").agg(agrees.alias("agrees")).where("agrees").select("id")

    def _answers(self, consent: ConsentConfig, path: str) -> DataFrame:
        assert consent.source
        return self._listed(consent.source, partial(_answers, consent, path), "id string, yes boolean, time bigint")

    def _listed(self, source: str, query: Query, schema: str) -> DataFrame:
        """What a query gives of the rows of a source, file by file."""
        at = [index for index, (name, _) in enumerate(self._files.files) if name == source]
        read = ListRows(self._files, at, query)
        return self._session.range(0, len(at), 1, max(len(at), 1)).mapInArrow(read, schema)


def _each(lists: Sequence[Any]) -> list[Any]:
    """All lists that a relation uses, each once."""
    return list(dict.fromkeys(one for one in lists if one is not None))


def _positions(lists: Sequence[Any]) -> list[int | None]:
    """The position of the list of each relation among all of them."""
    every = _each(lists)
    return [None if one is None else every.index(one) for one in lists]


def _of_relation(values: Sequence[int | None]) -> Column:
    """What is said of each relation, for the relation of a row."""
    return F.element_at(F.array(*(F.lit(value).cast("int") for value in values)), F.col("declared") + 1)


def _numbered(tables: Sequence[DataFrame]) -> DataFrame:
    """All tables in one, with the position of each as `list`."""
    numbered = (table.withColumn("list", F.lit(at)) for at, table in enumerate(tables))
    return reduce(lambda one, other: one.unionByName(other), numbered)


def _listed(columns: tuple[str, ...], engine: Engine, source: Source) -> str:
    return f"SELECT DISTINCT {listed_value(columns)} AS value FROM {source.table}"


def _partners(join: JoinConfig, engine: Engine, source: Source) -> str:
    return (
        f"SELECT DISTINCT {text(join.column)} AS partner, {text(join.to)} AS found FROM {source.table} "
        f"WHERE {quoted(join.column)} IS NOT NULL AND {quoted(join.to)} IS NOT NULL"
    )


def _answers(consent: ConsentConfig, path: str, engine: Engine, source: Source) -> str:
    answers = Answers(engine, consent, source, path)
    answers.check_each()
    return answers.rows
