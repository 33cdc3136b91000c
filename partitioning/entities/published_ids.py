"""The offsets of ids that the previous graph has."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine, file_list, quoted
from artifacts.formats.graph import ids_path, load_graph


class PublishedIds(NamedTuple):
    """`sql` gives (id, part, id_offset); `counts` are the ids of each partition, at offsets 0 to count - 1."""

    sql: str
    counts: tuple[int, ...]


def published_rows(previous: Path, type: str, parts: Sequence[int] | None = None) -> str:
    """SQL of (id, part, id_offset) of a type that the graph in `previous` has, in all of its partitions or some."""
    return " UNION ALL ".join(
        f"SELECT id, CAST({part} AS USMALLINT) AS part, CAST(file_row_number AS UBIGINT) AS id_offset "
        f"FROM read_parquet({file_list([ids_path(previous, type, part)])})"
        for part in (range(load_graph(previous).entity_type(type).partitions) if parts is None else parts)
    )


def published_ids(
    engine: Engine,
    previous: Path | None,
    type: str,
    partitions: int,
    gone: str | None,
    met: str | None = None,
    parts: Sequence[int] | None = None,
) -> PublishedIds:
    """The ids of a type, or of some of its partitions, that keep their offsets in a graph that follows `previous`.

    `gone` is SQL of ids that must leave; with `met`, SQL of ids, all others must. The last ids of the partition move to
    their offsets. Raises DataError for a graph with another number of partitions.
    """
    graph = load_graph(previous) if previous else None
    before = {entity_type.name: entity_type for entity_type in graph.entity_types} if graph else {}
    if previous is None or type not in before:
        none = "SELECT CAST(NULL AS VARCHAR) AS id, 0::USMALLINT AS part, 0::UBIGINT AS id_offset WHERE false"
        return PublishedIds(none, (0,) * partitions)
    if before[type].partitions != partitions:
        raise DataError(
            f"{previous}: type '{type}' has {before[type].partitions} partitions there and {partitions} in the "
            "config; ids keep their offsets only with the same number, else rebuild the map"
        )
    rows = published_rows(previous, type, parts)
    if met:
        gone = f"SELECT id FROM ({rows}) ANTI JOIN ({met}) USING (id)"
    return _without(engine, type, rows, partitions, gone) if gone else PublishedIds(rows, before[type].counts)


def _without(engine: Engine, type: str, rows: str, partitions: int, gone: str) -> PublishedIds:
    """The ids that remain; as many of the last ones as are needed move to the offsets that became free."""
    table = quoted(f"published_{type}")
    nth = "row_number() OVER (PARTITION BY part ORDER BY id_offset) AS nth"
    engine.run(
        f"CREATE TEMP TABLE {table} AS WITH published AS ({rows}), gone AS ({gone}), "
        "kept AS (SELECT * FROM published ANTI JOIN gone USING (id)), "
        "sizes AS (SELECT part, count(*) AS size FROM kept GROUP BY part), "
        f"free AS (SELECT part, id_offset, {nth} FROM published SEMI JOIN gone USING (id) JOIN sizes USING (part) "
        "WHERE id_offset < size), "
        f"last AS (SELECT id, part, {nth} FROM kept JOIN sizes USING (part) WHERE id_offset >= size) "
        "SELECT k.id, k.part, coalesce(f.id_offset, k.id_offset) AS id_offset FROM kept k "
        "LEFT JOIN last l ON l.id = k.id LEFT JOIN free f ON f.part = l.part AND f.nth = l.nth"
    )
    counts = dict(engine.rows(f"SELECT part, count(*) FROM {table} GROUP BY part"))
    return PublishedIds(f"SELECT * FROM {table}", tuple(counts.get(part, 0) for part in range(partitions)))
