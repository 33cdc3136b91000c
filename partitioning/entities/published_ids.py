"""The places of ids that an earlier graph knows."""

from pathlib import Path
from typing import NamedTuple

from artifacts.errors import DataError
from artifacts.graph import ids_path, load_graph
from partitioning.sources.engine import Engine, literal, quoted


class Known(NamedTuple):
    """`rows` is SQL of (id, part, place); `counts` are the ids of each partition, at places 0 to count - 1."""

    rows: str
    counts: tuple[int, ...]


def known_ids(engine: Engine, graph_dir: Path | None, type: str, partitions: int, forgotten: str | None) -> Known:
    """The ids of a type that keep their places in a graph that follows the one in `graph_dir`.

    `forgotten` is SQL of the ids that must leave; the last ids of the partition move to their places. Raises DataError
    for a graph with another number of partitions.
    """
    graph = load_graph(graph_dir) if graph_dir else None
    before = {entity_type.name: entity_type for entity_type in graph.entity_types} if graph else {}
    if graph_dir is None or type not in before:
        none = "SELECT CAST(NULL AS VARCHAR) AS id, 0::USMALLINT AS part, 0::UBIGINT AS place WHERE false"
        return Known(none, (0,) * partitions)
    if before[type].partitions != partitions:
        raise DataError(
            f"{graph_dir}: type '{type}' has {before[type].partitions} partitions there and {partitions} in the "
            "config; known ids can only keep their places with the same number, else rebuild the map"
        )
    rows = " UNION ALL ".join(
        f"SELECT id, CAST({part} AS USMALLINT) AS part, CAST(file_row_number AS UBIGINT) AS place "
        f"FROM read_parquet({literal(str(ids_path(graph_dir, type, part)))})"
        for part in range(partitions)
    )
    return _without(engine, type, rows, partitions, forgotten) if forgotten else Known(rows, before[type].counts)


def _without(engine: Engine, type: str, rows: str, partitions: int, forgotten: str) -> Known:
    """The known ids that remain; as many of the last ones as are needed move to the places that became free."""
    table = quoted(f"known_{type}")
    nth = "row_number() OVER (PARTITION BY part ORDER BY place) AS nth"
    engine.run(
        f"CREATE TEMP TABLE {table} AS WITH places AS ({rows}), gone AS ({forgotten}), "
        "kept AS (SELECT * FROM places ANTI JOIN gone USING (id)), "
        "sizes AS (SELECT part, count(*) AS size FROM kept GROUP BY part), "
        f"free AS (SELECT part, place, {nth} FROM places SEMI JOIN gone USING (id) JOIN sizes USING (part) "
        "WHERE place < size), "
        f"last AS (SELECT id, part, {nth} FROM kept JOIN sizes USING (part) WHERE place >= size) "
        "SELECT k.id, k.part, coalesce(f.place, k.place) AS place FROM kept k LEFT JOIN last l ON l.id = k.id "
        "LEFT JOIN free f ON f.part = l.part AND f.nth = l.nth"
    )
    counts = dict(engine.rows(f"SELECT part, count(*) FROM {table} GROUP BY part"))
    return Known(f"SELECT * FROM {table}", tuple(counts.get(part, 0) for part in range(partitions)))
