"""Weights of edges, from the bucket files to the vectors: every processor and operator honours them."""

from pathlib import Path

import numpy as np
import pytest

from artifacts.formats.graph import Graph, load_graph
from pbg_transra.config import ModelConfig
from pbg_transra.training.train import train
from tests.pbg_transra.training.test_swapping import vectors_of
from tests.worlds.small_graphs import Triples, write_graph

USERS, PINS, GROUPS = 60, 40, 4
CONFIG = {"operator": "transr", "dimension": 8, "epochs": 6, "workers": 1, "batch_size": 100, "uniform_negatives": 20}


@pytest.fixture(scope="module")
def graph_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users like the pins of their group (weight 3); as often they are sent to those of the next one (weight 0.1), and
    what they `skip` weighs nothing."""
    directory, generator = tmp_path_factory.mktemp("weighted"), np.random.default_rng(0)
    edges = []
    for relation, shift, weight in (("click", 0, 3.0), ("click", 1, 0.1), ("skip", 2, 0.0)):
        heads = generator.integers(0, USERS, 1000)
        tails = generator.integers(0, PINS // GROUPS, 1000) * GROUPS + (heads + shift) % GROUPS
        edges.append(Triples(relation, "train", heads, tails, np.full(1000, weight)))
    sides = ("user", "pin")
    write_graph(directory, {"user": [30, 30], "pin": [20, 20]}, {"click": sides, "skip": sides}, edges)
    return directory


def trained(graph_dir: Path, model_dir: Path, **changes: object) -> tuple[float, Graph, dict[str, np.ndarray]]:
    model_dir.mkdir()
    config = ModelConfig(**{**CONFIG, **changes})
    report = train(graph_dir, model_dir, config, lambda progress: None, lambda done: None)
    graph = load_graph(graph_dir)
    return report.loss, graph, vectors_of(model_dir, graph)


def own_group_first(vectors: dict[str, np.ndarray]) -> float:
    """The share of users that are nearer to the pins of their group than to those of the next one, by mean cosine."""
    users, pins = (np.concatenate([vectors[f"{kind}_{part}"] for part in (0, 1)]) for kind in ("user", "pin"))
    cosines = (users / np.linalg.norm(users, axis=1, keepdims=True)) @ (
        pins / np.linalg.norm(pins, axis=1, keepdims=True)
    ).T
    of_pins = np.arange(PINS) % GROUPS
    nearer = [
        row[of_pins == user % GROUPS].mean() > row[of_pins == (user + 1) % GROUPS].mean()
        for user, row in enumerate(cosines)
    ]
    return float(np.mean(nearer))


def test_both_processors_train_what_weighs(graph_dir: Path, tmp_path: Path) -> None:
    found = {}
    for processor in ("fused", "reference"):
        loss, _, vectors = trained(graph_dir, tmp_path / processor, operator="transe", processor=processor)
        found[processor] = loss
        assert own_group_first(vectors) > 0.9, processor
    assert found["reference"] == pytest.approx(found["fused"], rel=0.03)


@pytest.mark.parametrize("operator", ["diagonal", "none"])
def test_pbgs_own_operators_train_what_weighs(graph_dir: Path, tmp_path: Path, operator: str) -> None:
    _, _, vectors = trained(graph_dir, tmp_path / "m", operator=operator)
    assert own_group_first(vectors) > 0.9


@pytest.mark.parametrize(
    ("operator", "processor"), [("transr", "fused"), ("transr", "reference"), ("diagonal", "fused")]
)
def test_edges_without_weight_move_nothing(tmp_path: Path, operator: str, processor: str) -> None:
    edges = [Triples("like", "train", np.arange(20), np.arange(20), np.zeros(20))]
    write_graph(tmp_path, {"user": [20], "pin": [20]}, {"like": ("user", "pin")}, edges)
    found = []
    for epochs in (1, 2):
        changes = {"operator": operator, "processor": processor, "epochs": epochs, "pull": 0.0}
        loss, _, vectors = trained(tmp_path, tmp_path / f"m{epochs}", **changes)
        found.append(vectors)
        assert loss == 0.0
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])
