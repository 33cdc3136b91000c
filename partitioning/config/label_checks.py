"""Checks of labels: none may say of whom the graph is to say nothing."""

from collections.abc import Iterator

from artifacts.section import Problem
from partitioning.config.consent_checks import Path, unknown
from partitioning.config.sections import GraphConfig, LabelConfig


def label_problems(graph: GraphConfig) -> Iterator[Problem]:
    """Yields what is wrong with the labels of entities."""
    people = {consent.type for consent in (*graph.consents, graph.consent) if consent}
    for name, label in graph.labels.items():
        path: Path = ("entities", name, "label")
        yield from unknown("source", label.source, graph.sources, (*path, "source"))
        if name in people:
            yield Problem(path, f"consent is given by '{name}', and none of it is for people's names; remove this")
        if graph.ids:
            yield Problem(path, "with graph.ids, a label would say what the pseudonym hides; remove this")
        if label.source in graph.sources and graph.sources[label.source].append_only:
            yield Problem((*path, "source"), f"'{label.source}' is append_only, and labels are read in whole")
        yield from _of_others(graph, label, people, path)
        yield from _without_consent(graph, label, path)


def _of_others(graph: GraphConfig, label: LabelConfig, people: set[str | None], path: Path) -> Iterator[Problem]:
    """Ids of others as labels: those left out of the graph would stand in it. An id may be its own label."""
    if label.text == label.column:
        return
    for what, type in _ids_in(graph, _twins(graph, label.source), label.text):
        if type in people or graph.forget:
            who = "is forgotten" if graph.forget else "did not agree"
            yield Problem(
                (*path, "text"),
                f"'{label.text}' holds {what}: of whoever {who}, a label would keep the id; expected a column of "
                f"titles or names that is none of ids",
            )
            return


def _twins(graph: GraphConfig, source: str) -> set[str]:
    """The sources that read what a source reads, by whichever name."""

    def read(name: str) -> tuple[object, ...]:
        one = graph.sources[name]
        return {*one.patterns}, one.postgres, one.table, one.query

    return {name for name in graph.sources if source in graph.sources and read(name) == read(source)}


def _ids_in(graph: GraphConfig, sources: set[str], column: str) -> Iterator[tuple[str, str | None]]:
    """What a column of sources holds ids of, where the config says that it does: in words, and the type."""
    for relation in graph.relations:
        for end in relation.sides.values():
            if sources & {*relation.sources} and column == end.column:
                yield f"ids that relation '{relation.label}' reads", end.type
            if end.join and end.join.source in sources and column in (end.join.column, end.join.to):
                yield f"ids that relation '{relation.label}' looks up", end.type
    for consent in (*graph.consents, graph.consent):
        if consent and consent.source in sources and column == consent.column:
            yield "ids of those whose consent is asked for", consent.type
    if graph.forget and graph.forget.source in sources and column == graph.forget.column:
        yield "ids of those to forget", None


def _without_consent(graph: GraphConfig, label: LabelConfig, path: Path) -> Iterator[Problem]:
    """Labels are read from all rows of a source, also from those of people who did not agree."""
    for relation in graph.relations:
        consent = graph.consent_of(relation)
        if consent and consent.source and _twins(graph, label.source) & {*relation.sources}:
            yield Problem(
                (*path, "source"),
                f"'{label.source}' is read by offsite relation '{relation.label}' for people who agreed, and labels "
                f"would be read from all its rows; expected a source of their own, such as a table of titles",
            )
            return
