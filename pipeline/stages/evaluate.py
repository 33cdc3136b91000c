"""Held-out edges are ranked."""

from pathlib import Path
from typing import Any, ClassVar

from artifacts.section import Section
from pipeline.stages.stage import Stage
from pipeline.stages.told.odd_numbers import odd_evaluation
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run


class Evaluate(Stage):
    name, version, upstream, adds_to_published = "evaluate", 5, "train", True
    reads: ClassVar = {"partition": ("graph.json", "edges/"), "train": ("",)}

    def applies(self, context: Context) -> bool:
        """Without a model, or a split that keeps edges out of training, there is nothing to rank."""
        if context.config.model is None:
            return False
        graph = context.config.graph
        by_rule = graph.split.time is not None or graph.split.random is not None
        return by_rule or any(source.split == context.config.evaluate.split for source in graph.sources.values())

    def section(self, context: Context) -> Section:
        return context.config.evaluate

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        return {}

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from pbg_transra import evaluate

        config = context.config
        with context.console.steps(self.name) as progress:
            graph_dir, model_dir = run.directory("partition"), run.directory("train")
            return evaluate(graph_dir, model_dir, config.trained, config.evaluate, progress)

    def odd(self, context: Context, metrics: dict[str, Any]) -> list[str]:
        return list(odd_evaluation(metrics, by_time=context.config.graph.split.time is not None))

    def rows(self, metrics: dict[str, Any]) -> int | None:
        return int(metrics["triples"])

    def summary(self, metrics: dict[str, Any]) -> str:
        left_out = "".join(
            f"; {count:,} {metrics['split']} edges of '{name}' left out, which has no training edges"
            for name, count in metrics["untrained_relations"].items()
        )
        if not metrics["triples"]:
            return metrics["protocol"] + left_out
        auc = "n/a" if metrics["auc"] is None else f"{metrics['auc']:.4f}"
        return f"{numbers(metrics)}, AUC {auc} ({metrics['protocol']}{left_out}{beside(metrics)})"


def numbers(metrics: dict[str, Any]) -> str:
    """MRR and hits of a node of the tree."""
    return ", ".join(f"{key} {metrics[key]:.4f}" for key in metrics if key == "mrr" or key.startswith("hits@"))


def beside(metrics: dict[str, Any]) -> str:
    """What else a reader should see beside the headline."""
    bands = ", ".join(f"{name}: {band['mrr']:.4f}" for name, band in metrics["by_degree"].items() if band["answers"])
    parts = [f"mrr by training edges of the answer {bands}"]
    if allowed := metrics.get("own_entity_allowed"):
        parts.append(f"with the entity asked from as a candidate, as other libraries rank: {numbers(allowed)}")
    if few := metrics.get("sampled"):
        factor = few["flatters"]["mrr"]
        parts.append(f"among drawn candidates, which flatter (mrr times {factor:.1f}): {numbers(few)}")
    return "".join(f"; {part}" for part in parts)
