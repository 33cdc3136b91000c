"""`transra card`: a model card of the published run, in Markdown, of what its manifest and metrics say."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from artifacts.printable import one_line
from pipeline.running.published_facts import Facts


def model_card(facts: Facts, name: str) -> str:
    """The card of a run of the config `name`."""
    manifest, metrics = facts.manifest, facts.metrics
    model, train = manifest["config"]["model"], manifest["stages"]["train"]
    about = {
        "run": manifest["run"],
        "run before": manifest["parent"] or "none",
        "trained": f"{train['started']}, {metrics['train']['epochs']} epochs",
        "operator": f"{model['operator']}, {model['dimension']} dimensions, similarity {model['similarity']}",
        "anchors": ", ".join(model["anchors"]) or "none",
        "made with": ", ".join(f"{package} {version}" for package, version in train["versions"].items()),
    }
    parts = [
        f"# Vectors of {_cell(name)}",
        "Learned from events by TransRA, one vector an entity. For rankers and retrieval of the same product; not for "
        "judgements about people.",
        _table(("", ""), about.items()),
        "## Data",
        _table(("entity type", "entities"), _counts(metrics["partition"]["entities_by_type"])),
        _table(("split", "edges"), _counts(metrics["partition"]["edges_by_split"])),
        _table(("relation", "consent"), _consents(manifest["config"]["graph"]["relations"])),
        "## Evaluation",
        *_evaluation(metrics.get("evaluate")),
        "## Limits",
        "Events that nobody logged are unknown to the model, and positions in which ads were shown are in what it "
        "learned. Metrics are those of held-out edges of the same log, and no promise of clicks.",
    ]
    return "\n\n".join(parts) + "\n"


def _counts(counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    return ((name, f"{count:,}") for name, count in counts.items())


def _consents(relations: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Of each relation, whether rows need the consent of people."""
    for relation in relations:
        name = relation["name"] or f"by {relation['relation_column']}"
        yield name, "of those who opted in" if relation["domain"] == "offsite" else f"not asked ({relation['domain']})"


def _evaluation(metrics: Mapping[str, Any] | None) -> Iterator[str]:
    if metrics is None or not metrics.get("triples"):
        yield "Not evaluated: there was nothing held out."
        return
    yield one_line(str(metrics["protocol"]))
    rows = [(key, value) for key, value in metrics.items() if key in ("mrr", "auc") or key.startswith("hits@")]
    yield _table(("metric", "value"), ((key, "none" if value is None else f"{value:.4f}") for key, value in rows))


def _table(head: tuple[str, str], rows: Iterable[tuple[str, object]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {_cell(str(key))} | {_cell(str(value))} |" for key, value in rows)])


def _cell(text: str) -> str:
    """Text of a cell: names come from data."""
    return one_line(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
