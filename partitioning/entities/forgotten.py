"""Which of the ids to forget are there to be forgotten; one that cannot be meant as it stands is refused."""

from collections.abc import Callable
from pathlib import Path

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine, literal, quoted
from artifacts.formats.graph import load_graph
from partitioning.config.sections import GraphConfig
from partitioning.entities.id_table import occurring
from partitioning.entities.published_ids import published_rows
from partitioning.events.events import Events
from partitioning.events.forget import TABLE, forget_row
from partitioning.sources.table import Source

_SPACES = r"'^[\s\p{Z}]|[\s\p{Z}]$'"
THERE = quoted("forgotten there")  # the table (type, id) of the listed ids under every type that has them
_ABSENT = f"(SELECT * FROM {TABLE} ANTI JOIN {THERE} USING (type, id))"


def find_forgotten(engine: Engine, config: GraphConfig, events: list[Events], previous: Path | None) -> None:
    """Makes the table THERE, of events and of the previous graph."""
    known = {entity_type.name for entity_type in load_graph(previous).entity_types} if previous else set()
    parts = []
    for type in config.entities:
        ids = occurring(events, type)
        if previous and type in known:
            ids += f" UNION ALL SELECT id FROM ({published_rows(previous, type)})"
        parts.append(f"SELECT DISTINCT {literal(type)} AS type, id FROM ({ids}) SEMI JOIN {TABLE} USING (id)")
    engine.run(f"CREATE TEMP TABLE {THERE} AS {' UNION ALL '.join(parts)}")


def forgotten_counts(engine: Engine) -> dict[str, dict[str, int]]:
    """How many of the listed ids are there under their type, and how many are not."""
    rows = engine.rows(
        f"SELECT type, count(t.id), count(*) - count(t.id) FROM {TABLE} LEFT JOIN {THERE} t USING (type, id) "
        "GROUP BY type ORDER BY type"
    )
    return {type: {"found": found, "not_found": missing} for type, found, missing in rows}


def refuse_mistaken(
    engine: Engine, config: GraphConfig, sources: dict[str, Source], share_ids: Callable[[str, str], bool]
) -> None:
    """Raises DataError for a listed id that is nowhere and has spaces around, or is another type's.

    `share_ids` says whether an id occurs in events as of both types.
    Types that share ids (numbers, say) are not compared: an id that was forgotten long ago looks the same there.
    Messages name the row and not the id, since the log of a run keeps them.
    """
    for type, id in engine.rows(
        f"SELECT type, id FROM {_ABSENT} WHERE regexp_matches(id, {_SPACES}) ORDER BY ALL LIMIT 1"
    ):
        row = forget_row(engine, config, sources, type, id)
        raise DataError(
            f"{row}: the id has spaces around, and no {type} is called so; expected it as it is in the logs"
        )
    pairs = engine.rows(
        f"SELECT a.type, t.type, min(a.id) FROM {_ABSENT} a JOIN {THERE} t ON t.id = a.id GROUP BY ALL ORDER BY ALL"
    )
    for type, other, id in pairs:
        if not share_ids(type, other):
            row = forget_row(engine, config, sources, type, id)
            raise DataError(f"{row}: no {type} has this id, but a {other} has; expected the type of the id")


def share_ids(engine: Engine, events: list[Events], type: str, other: str) -> bool:
    """Whether an id occurs in events as of both types."""
    ids = f"SELECT id FROM ({occurring(events, type)}) SEMI JOIN ({occurring(events, other)}) USING (id)"
    return engine.rows(f"{ids} LIMIT 1") != []
