"""Checks that event times are present and plausible."""

from artifacts.expressions.engine import Engine
from partitioning.events.events import Events
from partitioning.events.plausible import odd_time, time_error


def check_times(engine: Engine, events: list[Events]) -> None:
    """Raises DataError when an event has no time, or one that can hardly be meant (`odd_time`).

    Where consent holds for intervals, the events of all who ever agreed are looked at: one with an odd time would be
    left out as of another day. Raises ConfigError when all times are those of a coarser unit than the config says.
    """
    sources = [(e.of_people, f"({e.condition})") for e in events if e.source.time]
    for source in {source.table: source for source, _ in sources}.values():
        # Rows that no relation uses may have any time: only if some row is odd, look at the events alone.
        if odd_time(engine, source, "true"):
            condition = " OR ".join(one for of, one in sources if of.table == source.table)
            if odd := odd_time(engine, source, condition):
                raise time_error(engine, source, condition, odd)
