"""Checks of who opted in: answers or intervals, and what they need."""

from collections.abc import Iterator, Mapping

from artifacts.section import Problem, did_you_mean
from partitioning.config.sections import ConsentConfig, GraphConfig, RelationConfig

Path = tuple[str | int, ...]


def unknown(kind: str, word: str, known: Mapping[str, object], path: Path) -> Iterator[Problem]:
    """Yields the problem of a name that is not among those known."""
    if word not in known:
        yield Problem(path, f"unknown {kind} '{word}'{did_you_mean(word, list(known))}")


def offsite_problems(graph: GraphConfig, relation: RelationConfig, path: Path) -> Iterator[Problem]:
    """Yields what is wrong with the consent of an offsite relation."""
    consent, here = graph.consent_of(relation), (*path, "consent")
    if relation.consent:
        yield from consent_problems(graph, relation.consent, here)
    if consent is None:
        yield Problem(here, 'an offsite relation needs a consent source, or {assumed: "<reason>"}')
        return
    if consent.source and consent.type not in (relation.lhs.type, relation.rhs.type):
        yield Problem(
            here,
            f"consent is given by '{consent.type}', but this relation joins "
            f"'{relation.lhs.type}' and '{relation.rhs.type}'",
        )
    for name in relation.sources if consent.intervals else ():
        if name in graph.sources and not graph.sources[name].time_column:
            says = _dotted((*(here if relation.consent else ("consent",)), "from_column"))
            yield Problem(
                (*path, "source"), f"{says} asks for the time of each event, but source '{name}' has no time_column"
            )


def consent_problems(graph: GraphConfig, consent: ConsentConfig, path: Path) -> Iterator[Problem]:
    """Yields what is wrong with a statement of who opted in; `path` is where it stands."""
    if (consent.source is None) == (consent.assumed is None):
        yield Problem(path, "expected exactly one of source and assumed")
    if consent.source is None:
        return
    yield from unknown("source", consent.source, graph.sources, (*path, "source"))
    if consent.from_column or consent.to_column:
        yield from _intervals(graph, consent, path)
    else:
        yield from _answers(consent, path)
    for key in ("type", "column"):
        if getattr(consent, key) is None:
            yield Problem((*path, key), "a consent source needs it")
    if consent.type is not None:
        yield from unknown("entity type", consent.type, graph.entities, (*path, "type"))


def _intervals(graph: GraphConfig, consent: ConsentConfig, path: Path) -> Iterator[Problem]:
    """Either answers or intervals: together, nobody could say which of them counts."""
    for key in ("from_column", "to_column"):
        if getattr(consent, key) is None:
            yield Problem((*path, key), "an interval needs from_column and to_column, whose values may be missing")
    present = "from_column" if consent.from_column else "to_column"
    beside = f"{_dotted((*path, present))} says that rows are intervals; remove one of both"
    for key in ("answer", "yes", "no", "where", "time_column"):
        if getattr(consent, key):
            yield Problem((*path, key), f"belongs to a history of answers, but {beside}")
    if consent.source in graph.sources and graph.sources[consent.source].time_column:
        yield Problem(("sources", consent.source, "time_column"), f"would date answers, but {beside}")


def _answers(consent: ConsentConfig, path: Path) -> Iterator[Problem]:
    if consent.answer is None:
        for key in ("yes", "no"):
            if getattr(consent, key):
                yield Problem((*path, key), "has no meaning without answer")
        return
    if consent.where:
        yield Problem((*path, "where"), "answer, yes and no say who agreed; remove one of both")
    for key in ("yes", "no"):
        if not getattr(consent, key):
            yield Problem((*path, key), "expected at least one answer: what is neither yes nor no is refused")
    for answer in sorted({*consent.yes} & {*consent.no}):
        yield Problem((*path, "no"), f"'{answer}' is listed as yes, too")


def _dotted(path: Path) -> str:
    """A path below the section as the whole config has it."""
    return "graph" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
