"""How well held-out edges are found: by relation, side, degree and warmth, and retrieval beside popularity."""

from typing import Any

from pipeline.report import charts
from pipeline.report.charts import Series
from pipeline.report.facts import Facts
from pipeline.report.parts import Panel, Section, Table
from pipeline.report.popularity import MOST_HEADS, popularity
from pipeline.stages.told.odd_numbers import odd_evaluation, odd_retrieval


def evaluation(facts: Facts) -> Section:
    metrics = facts.metrics("evaluate")
    if metrics is None:
        return Section("evaluation", "Evaluation", missing="The run has not been evaluated (`transra evaluate`).")
    if not metrics.get("triples"):
        return Section("evaluation", "Evaluation", missing=f"{metrics['protocol']}.")
    retrieval, behind = _retrieval(facts, metrics)
    panels = [_relations(metrics), _bands(metrics), _parts(metrics), _pairs(metrics), retrieval]
    lead = f"Protocol: {metrics['protocol']}."
    odd = odd_evaluation(metrics, by_time=facts.config["graph"]["split"]["time"] is not None)
    return Section("evaluation", "Evaluation", panels, lead, odd=[*odd, *behind])


def _measures(found: dict[str, Any]) -> list[str]:
    """The names of the measures, in their order: mrr, hits@1, ..., auc."""
    return [key for key in found if key in ("mrr", "auc") or key.startswith(("hits@", "recall@"))]


def _relations(metrics: dict[str, Any]) -> Panel:
    names = sorted(metrics["relations"], key=lambda name: -metrics["relations"][name]["triples"])
    names = [name for name in names if metrics["relations"][name]["triples"]]
    measures = _measures(metrics)
    rows = [
        (f"{name}: {words}", found["triples"], *(found[side][key] for key in measures))
        for name in names
        for found in [metrics["relations"][name]]
        for side, words in (("rhs", "tails asked for"), ("lhs", "heads asked for"))
    ]
    series = [
        Series(words, [metrics["relations"][name][side]["mrr"] for name in names])
        for side, words in (("rhs", "tails asked for"), ("lhs", "heads asked for"))
    ]
    return Panel(
        "MRR by relation and side", Table(("relation", "edges", *measures), rows), charts.dots(names, series, "MRR")
    )


def _bands(metrics: dict[str, Any]) -> Panel:
    bands = {name: found for name, found in metrics["by_degree"].items() if found["answers"]}
    measures = _measures(next(iter(bands.values())))
    rows = [(name, found["answers"], *(found[key] for key in measures)) for name, found in bands.items()]
    table = Table(("training edges", "answers", *measures), rows)
    chart = charts.bars(list(bands), [found["mrr"] for found in bands.values()], "MRR")
    note = "By the number of training edges of the entity that was to be found: what is popular is easier to find."
    return Panel("MRR by degree of the answer", table, chart, note)


def _parts(metrics: dict[str, Any]) -> Panel:
    measures = _measures(metrics)
    parts = {
        "all": (metrics["triples"], metrics),
        "tails asked for": (metrics["triples"], metrics["rhs"]),
        "heads asked for": (metrics["triples"], metrics["lhs"]),
        "warm: both ends in training": (metrics["warm"]["triples"], metrics["warm"]),
        "cold: an end that training has not": (metrics["cold"]["triples"], metrics["cold"]),
    }
    rows = [(name, count, *(found.get(key) for key in measures)) for name, (count, found) in parts.items()]
    if allowed := metrics.get("own_entity_allowed"):
        rows.append(("own entity as a candidate", metrics["triples"], *(allowed.get(key) for key in measures)))
    return Panel("Warm, cold and by side", Table(("edges", "count", *measures), rows))


def _pairs(metrics: dict[str, Any]) -> Panel:
    pairs = metrics["anchor_retrieval"].get("pairs", {})
    found = {name: one for name, one in pairs.items() if one.get("queries")}
    if not found:
        return Panel("Retrieval by pair of types", note="No pair of types was asked.")
    measures = _measures(next(iter(found.values())))
    rows = [(name, one["queries"], *(one[key] for key in measures)) for name, one in found.items()]
    note = "By the plain similarity of exported vectors, each held-out edge a query."
    return Panel("Retrieval by pair of types", Table(("from, to", "queries", *measures), rows), note=note)


def _retrieval(facts: Facts, metrics: dict[str, Any]) -> tuple[Panel, list[str]]:
    """The panel, and what is odd about it."""
    title = "Retrieval beside popularity"
    relations = metrics["anchor_retrieval"].get("per_query", {}).get("relations", {})
    if not relations:
        return Panel(title, note="The evaluation has no lists by query."), []
    key = next(name for name in next(iter(relations.values()))["rhs"] if name.startswith("recall@"))
    names = sorted(relations, key=lambda name: -relations[name]["rhs"]["queries"])
    popular, note = popularity(
        facts.directory("partition"), facts.graph, metrics["split"], names, int(key.split("@")[1])
    )
    rows = [(name, relations[name]["rhs"]["queries"], relations[name]["rhs"][key], popular.get(name)) for name in names]
    series = [
        Series("exported vectors", [relations[name]["rhs"][key] for name in names]),
        Series("popularity", [popular.get(name) for name in names]),
    ]
    table = Table(("relation", "queries", f"{key}, vectors", f"{key}, popularity"), rows)
    panel = Panel(title, table, charts.dots(names, series if popular else series[:1], key), note)
    return panel, list(odd_retrieval(key, rows, MOST_HEADS))
