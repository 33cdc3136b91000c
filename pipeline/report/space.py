"""The anchor space: a map of drawn entities, and examples with their nearest neighbours."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from artifacts.printable import one_line
from pipeline.report import charts, shown
from pipeline.report.facts import Facts
from pipeline.report.graph import MOST_DEGREES, degree_sums
from pipeline.report.parts import Panel, Section, Table
from pipeline.report.reasons import reasons

MOST_POINTS = 3000  # on the map
LEAST_OF_TYPE = 60
MOST_TYPES = 10
MOST_EXAMPLES = 40  # of a type
LEAST_EXAMPLES = 4
NEIGHBORS = 5
MOST_WORK = 2 * 10**10  # multiplications that the neighbours may take: a second or two
NO_VECTORS = "The run has no export yet, so there are no vectors to look at."

Rows = NDArray[np.int64]


def space(facts: Facts) -> Section:
    """The map."""
    export = facts.embeddings
    if export is None:
        return Section("map", "Map of the anchor space", missing=NO_VECTORS)
    drawn = _drawn(export)
    if sum(map(len, drawn.values())) < 3:
        return Section("map", "Map of the anchor space", missing="Fewer than three entities are no map.")
    places, explained = principal_plane(export, drawn)
    groups: dict[str, dict[str, Any]] = {}
    for name, rows in drawn.items():
        ids = [shown.name(" ".join(export.named(name, export.id(name, int(row))).values())) for row in rows]
        groups[name] = {"x": places[name][:, 0], "y": places[name][:, 1], "id": ids}
    counts = [(name, export.count(name), len(rows)) for name, rows in drawn.items()]
    table, drawn_count = Table(("type", "entities", "on the map"), counts), sum(map(len, drawn.values()))
    note = (
        f"The two principal axes of {drawn_count:,} drawn entities, which hold {explained:.0%} of their variance: "
        "what is near in the space is near here, and not the other way round. Ctrl and the wheel zoom."
    )
    buttons = "".join(
        f'<button type="button" data-zoom="{factor}">{words}</button>'
        for factor, words in (("0.5", "Zoom in"), ("2", "Zoom out"), ("0", "All"))
    )
    panel = Panel("Entities by type", table, charts.points(groups), note, f'<p class="buttons">{buttons}</p>')
    return Section("map", "Map of the anchor space", [panel])


def _drawn(export: Embeddings) -> dict[str, Rows]:
    """Rows of each type, at random and ascending; of the largest types, as many as is their share."""
    types, random = largest_types(export), np.random.default_rng(0)
    total = sum(export.count(name) for name in types)
    found = {}
    for name in types:
        trained = np.flatnonzero(export.trained(name))
        wanted = min(len(trained), max(LEAST_OF_TYPE, MOST_POINTS * export.count(name) // total))
        found[name] = np.sort(random.choice(trained, wanted, replace=False))
    return found


def largest_types(export: Embeddings) -> list[str]:
    """The types with the most entities, as many as have colours of their own."""
    found = (name for name in export.types if export.trained(name).any())
    return sorted(found, key=lambda name: -export.count(name))[:MOST_TYPES]


def principal_plane(export: Embeddings, drawn: dict[str, Rows]) -> tuple[dict[str, NDArray[Any]], float]:
    """Where drawn entities lie in the plane of their first two principal axes, (M, 2) of each type, and the share of
    the variance that it holds. The component that is a bias for popularity is left out."""
    vectors = {name: np.asarray(export.vectors(name)[rows], np.float64) for name, rows in drawn.items()}
    if export.attributes["bias_against"]:
        vectors = {name: of_type[:, 1:] for name, of_type in vectors.items()}
    every = np.concatenate(list(vectors.values()))
    mean = every.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(every - mean, rowvar=False).reshape(every.shape[1], -1))
    plane = axes[:, ::-1][:, :2]
    if plane.shape[1] < 2:
        plane = np.hstack([plane, np.zeros_like(plane)])
    held = float(variances[::-1][:2].sum() / max(variances.sum(), np.finfo(float).tiny))
    return {name: (of_type - mean) @ plane for name, of_type in vectors.items()}, held


@dataclass(frozen=True)
class Example:
    """An entity and the nearest of each type, as `Embeddings.named` has them, and its training edges (None where the
    export has no degrees)."""

    type: str
    named: dict[str, str]
    degree: int | None
    near: dict[str, list[tuple[dict[str, str], float]]]

    @property
    def key(self) -> tuple[str, str]:
        return self.type, self.named["id"]


def examples(facts: Facts) -> Section:
    """Entities with their neighbours, to be searched."""
    id, title, export = "neighbors", "Neighbours", facts.embeddings
    if export is None:
        return Section(id, title, missing=NO_VECTORS)
    found = drawn_examples(export)
    nearest = {one.key: {to: near[0][0]["id"] for to, near in one.near.items() if near} for one in found}
    why = reasons(facts, export, nearest)
    similarity = export.attributes["similarity"]
    lead = (
        f"Some entities of each type, half of them those with the most edges, and the {NEIGHBORS} nearest of every "
        f"type by the plain similarity ({similarity}) of exported vectors; of some also why, as `transra explain` says "
        "it. `transra neighbors` answers for all."
    )
    search = (
        '<div class="search" role="search"><label for="find">Search these examples by id, name or type</label>'
        '<input id="find" type="search" autocomplete="off" spellcheck="false">'
        f'<p id="found" role="status" aria-live="polite">{len(found):,} examples</p></div>'
    )
    articles = "".join(_article(one, why.get(one.key, {})) for one in found)
    return Section(id, title, lead=lead, more=search + f'<div id="examples">{articles}</div>')


def drawn_examples(export: Embeddings) -> list[Example]:
    """As many of each type as `MOST_WORK` allows."""
    types = largest_types(export)
    a_query = sum(export.count(name) for name in types) * export.dimension
    each = max(LEAST_EXAMPLES, min(MOST_EXAMPLES, MOST_WORK // max(1, a_query * len(types))))
    found = []
    for name in types:
        rows, degrees = _chosen(export, name, each)
        near = {to: _near(export, name, rows, to) for to in types}
        found += [
            Example(name, export.named(name, export.id(name, int(row))), degrees[i], {to: near[to][i] for to in types})
            for i, row in enumerate(rows)
        ]
    return found


def _chosen(export: Embeddings, name: str, count: int) -> tuple[Rows, list[int | None]]:
    """Half of them with the most edges, the rest at random."""
    degrees, every, trained = export.degrees(name), export.count(name), np.flatnonzero(export.trained(name))
    drawn = np.random.default_rng(0).choice(trained, min(len(trained), 2 * count), replace=False)
    if degrees is None:
        return drawn[:count], [None] * min(count, len(trained))
    step = max(1, every // MOST_DEGREES)
    top = step * np.argsort(-degree_sums(degrees, step), kind="stable")[: count // 2]
    top = top[np.isin(top, trained)]
    rows = np.concatenate([top, drawn[~np.isin(drawn, top)]])[: min(count, len(trained))]
    return rows, [int(total) for total in degree_sums(degrees[rows])]


def _near(export: Embeddings, name: str, rows: Rows, to: str) -> list[list[tuple[dict[str, str], float]]]:
    found = export.neighbors(name, export.ids(name).take(rows), k=NEIGHBORS, to=to)
    return [[(export.named(to, one.id), one.similarity) for one in near] for near in found]


def _article(example: Example, why: Mapping[str, str]) -> str:
    """`why`: the nearest of a type is so near, as text."""
    edges = "" if example.degree is None else f" · {example.degree:,} training edges"
    lists = "".join(
        f"<div><h4>{escape(to)}</h4><ol>"
        + "".join(f"<li>{_called(named)} <span>{score:.3f}</span></li>" for named, score in near)
        + "</ol></div>"
        for to, near in example.near.items()
        if near
    )
    key = escape(one_line(" ".join((example.type, *example.named.values()))).lower()[:600])
    summary = f"{_called(example.named)} <span>{escape(example.type)}{edges}</span>"
    texts = "".join(
        f'<h4>Why the first {escape(to)}</h4><pre tabindex="0">{escape(text)}</pre>' for to, text in why.items()
    )
    return f'<details data-key="{key}"><summary>{summary}</summary><div class="lists">{lists}</div>{texts}</details>'


def _called(named: dict[str, str]) -> str:
    """An id, and its label where it has one."""
    return " ".join(shown.html(text, shown.MOST_LETTERS) for text in named.values())
