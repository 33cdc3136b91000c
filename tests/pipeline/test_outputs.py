"""docs/outputs.md: its examples run on a real export, and what they score is what the model scores."""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from artifacts.embeddings import Embeddings
from artifacts.formats.graph import load_graph
from demo_world import WorldParameters, generate
from pbg_transra.config import ModelConfig
from pbg_transra.evaluation.views import relation_views
from pbg_transra.pbg.checkpoint import Checkpoint
from pbg_transra.pbg.comparators import make_comparator
from pipeline.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs/outputs.md"
SETS = ("graph.partitions=2", "model.epochs=1", "model.edge_chunks=1", "model.dimension=8", "model.workers=1")
MODELS = [("transra", "cos"), ("transra_untied", "l2"), ("transr", "dot"), ("transe", "squared_l2")]


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a small demo world."""
    root = tmp_path_factory.mktemp("outputs")
    generate(root / "data/demo", WorldParameters(users=1000, impressions=10_000, days=30, seed=1), None)
    return root


def exported(root: Path, operator: str, similarity: str, workspace: Path) -> Path:
    """The published run of one epoch."""
    sets = [*SETS, f"model.operator={operator}", f"model.similarity={similarity}", "graph.memory_limit=1GB"]
    if operator in ("transr", "transe"):
        sets.append("model.anchors=[]")
    more = [word for one in sets for word in ("--set", one)]
    config = str(REPOSITORY / "configs/demo.json")
    for stage in ("partition", "train", "export"):
        assert main([stage, config, "--root", str(root), "--workspace", str(workspace), "--quiet", *more]) == 0
    return (workspace / "latest").resolve()


def model_score(run: Path, model: ModelConfig, relation: int, head: int, tail: int) -> float:
    """By the trained operators and PBG's comparators; rows are those of the export."""
    graph_dir, checkpoint = run / "graph", Checkpoint(run / "model")
    graph = load_graph(graph_dir)
    declared = graph.relations[relation]
    sides = []
    for name, row in ((declared.lhs, head), (declared.rhs, tail)):
        parts = []
        for part in range(len(next(t for t in graph.entity_types if t.name == name).counts)):
            with checkpoint.vectors(name, part) as dataset:
                parts.append(dataset[...])
        sides.append(torch.from_numpy(np.concatenate(parts)[row]).view(1, 1, -1))
    views, comparator = relation_views(graph, relation, checkpoint, model, torch.float32), make_comparator(model)
    lhs, rhs = comparator.prepare(views.lhs(sides[0])), comparator.prepare(views.rhs(sides[1]))
    positive, *_ = comparator(lhs, rhs, lhs, rhs)
    return float(positive)


@pytest.mark.parametrize(("operator", "similarity"), MODELS, ids=lambda value: value)
def test_the_examples_score_as_the_model_does(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    operator: str,
    similarity: str,
) -> None:
    run = exported(root, operator, similarity, tmp_path / "runs/demo")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for example in examples():
        exec(compile(example, str(PAGE), "exec"), namespace)
    assert "long_click u" in capsys.readouterr().out
    model = ModelConfig.model_validate(json.loads((run / "manifest.json").read_text())["config"]["model"])
    export, random = Embeddings(run / "export/embeddings.h5"), np.random.default_rng(0)
    with h5py.File(export.path) as file:
        for index, relation in enumerate(export.relations):
            head, tail = (int(random.integers(export.count(name))) for name in (relation.lhs, relation.rhs))
            ids = export.id(relation.lhs, head), export.id(relation.rhs, tail)
            found = namespace["score"](file, relation.name, *ids)
            assert found == pytest.approx(model_score(run, model, index, head, tail), rel=1e-4, abs=1e-4)
    datasets = {relation.operator: set(relation.parameters) for relation in export.relations}
    table = dict(re.findall(r"^\| `(transra\w*)`.*\| ([^|]*) \|$", PAGE.read_text(), re.MULTILINE))
    assert datasets == {name: set(re.findall(r"`(\w+)`", table[name])) for name in datasets}


def test_the_page_names_what_metrics_hold(root: Path, tmp_path: Path) -> None:
    run = exported(root, "transra", "cos", tmp_path / "runs/demo")
    text = PAGE.read_text().replace("\n  ", " ")
    for stage, metrics in json.loads((run / "metrics.json").read_text()).items():
        if stage != "run":
            named = re.findall(r"[\w@]+", re.findall(rf"^- `{stage}`: (.*)$", text, re.MULTILINE)[0])
            assert set(named) == set(metrics), stage
    manifest = json.loads((run / "manifest.json").read_text())
    for key in (*manifest, *manifest["stages"]["train"]):
        assert key in ("stage", "started") or f"`{key}`" in text, key
