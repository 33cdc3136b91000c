"""Checks of a config with append-only sources: what only a look at all events can give is refused."""

from collections.abc import Iterator

from artifacts.section import Problem
from partitioning.config.sections import GraphConfig


def append_only_problems(graph: GraphConfig) -> Iterator[Problem]:
    """Yields every setting that a graph which only reads new files could not keep exact."""
    for name, source in graph.sources.items():
        if source.append_only and name in graph.lists:
            message = "a list that ids are looked up in changes edges that were counted; remove this"
            yield Problem(("sources", name, "append_only"), message)
    if not graph.append_only:
        return
    for name, source in graph.sources.items():
        if source.postgres:
            message = "sources are append_only, and the ledger of what was counted tells by files; expected files"
            yield Problem(("sources", name, "postgres"), message)
    because = "needs all events, and sources are append_only, whose old files are not read again"
    for name, entity in graph.entities.items():
        if entity.min_degree:
            yield Problem(("entities", name, "min_degree"), because)
    for index, relation in enumerate(graph.relations):
        for side, end in relation.sides.items():
            if end.max_degree:
                yield Problem(("relations", index, side, "max_degree"), because)
        if relation.half_life_days:
            yield Problem(("relations", index, "half_life_days"), because)
    if graph.split.time and graph.split.time.until is not None:
        yield Problem(("split", "time", "until"), because)
