"""Whether a run may become the published one: its numbers beside those of the run that is published now."""

from collections.abc import Iterator, Mapping
from typing import Any

from artifacts.formats.graph import Graph, load_graph
from artifacts.formats.run import EMBEDDINGS
from pipeline.config.publication import GateConfig
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run

Metrics = Mapping[str, Any]


def reasons(context: Context, run: Run, measured: Mapping[str, Metrics]) -> list[str]:
    """Why the run must not be published, a phrase each; none where it may. `measured`: its metrics, by stage.

    What one of both runs has no number for, as with an empty test window, is said and not judged.
    """
    gate, latest = context.config.gate, context.workspace.latest
    if gate is None or latest is None or latest == run:
        return []
    before = latest.metrics()
    found = [*_counts(gate, measured["partition"], before["partition"])]
    if gate.judges_ranks:
        found += _ranks(context, gate, latest, measured.get("evaluate"), before.get("evaluate"))
    if gate.of_ranker:
        found += _ranker(context, gate, measured.get("rank"), before.get("rank"))
    if gate.relations is not None:
        found += _relations(gate.relations, *(load_graph(one.directory("partition")) for one in (run, latest)))
    if gate.judges_drift:
        found += _drift(gate, _stability(run, latest, measured["export"]))
    return found


def _counts(gate: GateConfig, now: Metrics, before: Metrics) -> Iterator[str]:
    pairs = {
        "edges": (gate.edges, now["edges_by_split"]["train"], before["edges_by_split"]["train"]),
        "entities": (gate.entities, now["entities"], before["entities"]),
    }
    for name, (share, count, published) in pairs.items():
        if share is not None and abs(count - published) > share * published:
            yield f"{count:,} {name}, published {published:,}, expected within {share:g} of them (gate.{name})"


def _relations(share: float, now: Graph, before: Graph) -> Iterator[str]:
    counts = {relation.name: relation.edges["train"] for relation in now.relations}
    for relation in before.relations:
        count, published = counts.get(relation.name, 0), relation.edges["train"]
        if abs(count - published) > share * published:
            yield (
                f"{count:,} edges of relation '{relation.name}', published {published:,}, expected within {share:g} of "
                "them (gate.relations)"
            )


def _ranks(
    context: Context, gate: GateConfig, latest: Run, now: Metrics | None, before: Metrics | None
) -> Iterator[str]:
    evaluation = latest.record("evaluate")
    if evaluation and evaluation["parts"]["config"] != context.config.evaluate.model_dump(mode="json"):
        context.console.say("gate: ranks are not compared: the published run was evaluated with other settings")
        return
    for name, share, measure in (("mrr", gate.mrr, _mrr), ("recall", gate.recall, _recall)):
        if share is None:
            continue
        value, published = (None if metrics is None else measure(metrics) for metrics in (now, before))
        if value is None or published is None:
            whose = "this run" if value is None else "the published run"
            context.console.say(f"gate: {name} is not compared: {whose} has none")
        elif value < published * (1 - share):
            least = published * (1 - share)
            yield f"{name} {value:.4f}, published {published:.4f}, expected at least {least:.4f} (gate.{name})"


def _ranker(context: Context, gate: GateConfig, now: Metrics | None, before: Metrics | None) -> Iterator[str]:
    """Each number of both rankings, of the arm that is fitted, where one is."""
    fit = context.config.ranker.fit if context.config.ranker else None
    for name, share in gate.of_ranker.items():
        values, published = (_of_ranking(name, metrics, fit.arm if fit else None) for metrics in (now, before))
        compared = [what for what in values if what in published]
        if not compared:
            whose = "this run" if not values else "the published run"
            context.console.say(f"gate: {name} is not compared: {whose} has none")
        for what in compared:
            bound = published[what] * (1 + share if name == "ne" else 1 - share)
            if values[what] > bound if name == "ne" else values[what] < bound:
                side = "most" if name == "ne" else "least"
                yield (
                    f"{name} {values[what]:.4f} of {what}, published {published[what]:.4f}, expected at {side} "
                    f"{bound:.4f} (gate.{name})"
                )


def _of_ranking(name: str, metrics: Metrics | None, arm: str | None) -> dict[str, float]:
    """What a ranking says of a key of the gate, by what it is of; without what it could not measure."""
    if metrics is None:
        return {}
    if name == "match":
        (slots,) = list(metrics["match_rates"].values())[:1] or [{}]
        return {f"slot '{slot}'": rate["traffic"] for slot, rate in slots.items() if rate["distinct"]}
    return {
        f"{task} by arm '{contestant}'": found[task][name]
        for contestant, found in metrics["arms"].items()
        for task in ("ctr", "cvr")
        if arm in (None, contestant) and task in found and found[task][name] is not None
    }


def _mrr(metrics: Metrics) -> float | None:
    found: float | None = metrics.get("mrr")
    return found


def _recall(metrics: Metrics) -> float | None:
    """Of all pairs of types together, at the largest k."""
    pairs = [pair for pair in metrics.get("anchor_retrieval", {}).get("pairs", {}).values() if pair["queries"]]
    if not pairs:
        return None
    key = max((name for name in pairs[0] if name.startswith("recall@")), key=lambda name: int(name.split("@")[1]))
    return float(sum(p["queries"] * p[key] for p in pairs) / sum(p["queries"] for p in pairs))


def _stability(run: Run, latest: Run, export: Metrics) -> Metrics:
    """As the export has measured it, or anew where another run has been published since."""
    found: Metrics | None = export["stability"]
    if found is not None and found["previous"] == latest.id:
        return found
    from pbg_transra import compare_exports

    return compare_exports(*(one.directory("export") / EMBEDDINGS for one in (run, latest)))


def _drift(gate: GateConfig, stability: Metrics) -> Iterator[str]:
    for name in ("overlap", "cosine"):
        least: float | None = getattr(gate, name)
        for kind, found in stability["types"].items():
            if least is not None and found[name] is not None and found[name] < least:
                yield f"{name} {found[name]:.4f} of type '{kind}', expected at least {least:g} (gate.{name})"
