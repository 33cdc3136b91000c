"""Regularization by degree, and biases of tails."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.formats.graph import Graph, load_graph
from artifacts.neighbors import neighbors
from pbg_transra.backends.tables import shared_edges
from pbg_transra.backends.tail_bias import CONSTANT
from pbg_transra.config import ExportConfig, ModelConfig
from pbg_transra.export.export import export_embeddings
from pbg_transra.pbg.checkpoint import Checkpoint
from pbg_transra.planning.memory import check_names
from pbg_transra.training.edge_files import training_edges
from pbg_transra.training.regularization import DegreeDecays
from pbg_transra.training.train import train
from tests.worlds.small_graphs import Triples, write_graph

USERS, PINS = 40, 12
CONFIG = ModelConfig(
    anchors=("click",),
    anchor_translation=False,
    similarity="dot",
    scale=1,
    head_weight=0,
    regularization=0.1,
    tail_bias=True,
    dimension=6,
    epochs=30,
    batch_size=50,
    workers=1,
)


def popular_world(directory: Path, partitions: int) -> Graph:
    """Pin i is clicked in proportion to i + 1, by anyone; and every pin has a topic."""
    rng = np.random.default_rng(0)
    shares = np.arange(1, PINS + 1)
    tails = rng.choice(PINS, 600, p=shares / shares.sum())
    clicks = Triples("click", "train", rng.integers(USERS, size=600), tails)
    topics = Triples("topic", "train", np.arange(PINS), np.arange(PINS) % 2)
    counts = {"user": [USERS // partitions] * partitions, "pin": [PINS // partitions] * partitions, "topic": [2]}
    return write_graph(directory, counts, {"click": ("user", "pin"), "topic": ("pin", "topic")}, [clicks, topics])


def decays_by_edge(directory: Path) -> Counter[tuple[str, str, int, float, float]]:
    """The factors of every training edge, by the global rows that it joins."""
    graph, found = load_graph(directory), Counter()
    edges = training_edges(directory, graph, 1)
    edges = replace(edges, decays=DegreeDecays(directory, graph, directory))
    starts = {kind.name: np.concatenate([[0], np.cumsum(kind.counts)]) for kind in graph.entity_types}
    for bucket, count in edges.counts.items():
        into = shared_edges(count, weighted=False, regularized=True)
        edges.load(bucket, 0, seed=1, into=into)
        columns = zip(into.relations.tolist(), into.heads.tolist(), into.tails.tolist(), *into.decays, strict=True)
        for relation, head, tail, of_head, of_tail in columns:
            schema = graph.relations[relation]
            lhs = starts[schema.lhs][graph.entity_type(schema.lhs).partition_in(bucket.lhs)] + head
            rhs = starts[schema.rhs][graph.entity_type(schema.rhs).partition_in(bucket.rhs)] + tail
            found[schema.name, int(lhs), int(rhs), round(float(of_head), 5), round(float(of_tail), 5)] += 1
    return found


def test_an_end_is_held_by_the_root_of_its_degree_whatever_the_partitions(tmp_path: Path) -> None:
    found = []
    for partitions in (1, 4):
        directory = tmp_path / str(partitions)
        directory.mkdir()
        popular_world(directory, partitions)
        found.append(decays_by_edge(directory))
    assert found[0] == found[1]
    edges = [key for key, count in found[0].items() for _ in range(count)]
    degrees = Counter(("pin", pin) for name, _, pin, *_ in edges if name == "click")
    degrees += Counter(("pin", pin) for name, pin, *_ in edges if name == "topic")
    logs = sum(degree * np.log(degree) for degree in degrees.values()) / degrees.total()
    for name, head, tail, of_head, of_tail in edges:
        pin, decay = (tail, of_tail) if name == "click" else (head, of_head)
        assert decay == pytest.approx(np.sqrt(np.exp(logs) / degrees["pin", pin]), abs=1e-4)


def test_nothing_of_the_file_is_held_between_two_buckets(tmp_path: Path) -> None:
    """It is 4 bytes an entity, and would be counted as the training's memory."""
    popular_world(tmp_path, 1)
    graph = load_graph(tmp_path)
    edges = replace(training_edges(tmp_path, graph, 1), decays=DegreeDecays(tmp_path, graph, tmp_path))
    for bucket, count in [(None, 0), *edges.counts.items()]:
        if bucket is not None:
            edges.load(bucket, 0, seed=1, into=shared_edges(count, weighted=False, regularized=True))
        mapped = Path("/proc/self/smaps").read_text().split(f"{tmp_path}/")[1:]
        resident = [int(line.split()[1]) for one in mapped for line in one.splitlines() if line.startswith("Rss:")][:1]
        assert len(mapped) == 1 and resident == [0]


def trained(directory: Path, config: ModelConfig, processor: str = "fused") -> tuple[np.ndarray, np.ndarray]:
    """Vectors of users and pins."""
    graph_dir, model_dir = directory / "graph", directory / "model"
    graph_dir.mkdir(parents=True)
    model_dir.mkdir()
    popular_world(graph_dir, 2)
    settings = config.model_copy(update={"processor": processor})
    train(graph_dir, model_dir, settings, lambda progress: None, lambda bucket: None)
    assert not list(model_dir.glob("tmp*")), "the degrees' file has no name"
    checkpoint = Checkpoint(model_dir)
    found = []
    for name in ("user", "pin"):
        parts = []
        for part in range(2):
            with checkpoint.vectors(name, part) as dataset:
                parts.append(dataset[:])
        found.append(np.concatenate(parts))
    return found[0], found[1]


@pytest.mark.parametrize("processor", ["fused", pytest.param("reference", marks=pytest.mark.slow)])
def test_a_bias_learns_what_is_popular_and_its_constant_stays(tmp_path: Path, processor: str) -> None:
    held = {"regularization": 5.0, "epochs": 100}  # so that vectors alone cannot say it
    users, pins = trained(tmp_path, CONFIG.model_copy(update=held), processor)
    assert (users[:, 0] == np.float32(CONSTANT)).all() and len(np.unique(users[:, 1])) > 1
    assert np.corrcoef(pins[:, 0], np.log(np.arange(1, PINS + 1)))[0, 1] > 0.5
    assert pins[-4:, 0].mean() > pins[:4, 0].mean() + 0.5


def test_without_biases_the_first_component_is_like_any(tmp_path: Path) -> None:
    users, _ = trained(tmp_path, CONFIG.model_copy(update={"tail_bias": False}))
    assert len(np.unique(users[:, 0])) > USERS // 2


def test_the_exported_product_has_the_bias_and_neighbors_of_tails_have_none(tmp_path: Path) -> None:
    users, pins = trained(tmp_path, CONFIG)
    (tmp_path / "export").mkdir()
    facts = {"config_hash": "", "run_id": "", "metrics": {}}
    places = (tmp_path / "graph", tmp_path / "model", tmp_path / "export")
    export_embeddings(*places, CONFIG, ExportConfig(), facts, lambda label, done: None)
    embeddings = Embeddings(tmp_path / "export/embeddings.h5")
    assert embeddings.attributes["bias_against"] == ["user"]
    near = neighbors(embeddings, "user", "u3", PINS, "pin")
    assert [one.similarity for one in near] == pytest.approx(sorted(pins @ users[3], reverse=True), abs=1e-4)
    near = neighbors(embeddings, "pin", "p3", PINS - 1, "pin")
    others = np.delete(pins[:, 1:] @ pins[3, 1:], 3)
    assert [one.similarity for one in near] == pytest.approx(sorted(others, reverse=True), abs=1e-4)


@pytest.mark.parametrize("changes", [{"similarity": "cos"}, {"operator": "transr", "anchors": []}, {"start_from": "x"}])
def test_biases_need_inner_products_of_anchors(changes: dict[str, object]) -> None:
    settings = ModelConfig(**{**CONFIG.model_dump(), **changes})
    assert ("tail_bias",) in [problem.path for problem in settings.problems()]


def test_a_type_on_both_sides_of_anchors_has_no_place_for_a_bias(tmp_path: Path) -> None:
    rows = np.arange(4)
    edges = [Triples("also", "train", rows, rows[::-1].copy())]
    graph = write_graph(tmp_path, {"pin": [4]}, {"also": ("pin", "pin")}, edges)
    with pytest.raises(DataError, match="model.tail_bias: entity type 'pin' is head and tail of anchors"):
        check_names(graph, CONFIG.model_copy(update={"anchors": ("also",)}))


def test_anchors_without_a_training_edge_shape_no_space(tmp_path: Path) -> None:
    rows = np.arange(4)
    relations = {"click": ("user", "pin"), "save": ("user", "pin")}
    graph = write_graph(tmp_path, {"user": [4], "pin": [4]}, relations, [Triples("save", "train", rows, rows)])
    check_names(graph, CONFIG.model_copy(update={"anchors": ("click", "save")}))
    with pytest.raises(DataError, match="model.anchors: none has a training edge"):
        check_names(graph, CONFIG)


def test_regularization_shortens_vectors(tmp_path: Path) -> None:
    _, pins = trained(tmp_path, CONFIG.model_copy(update={"regularization": 0.5}))
    _, free = trained(tmp_path / "free", CONFIG.model_copy(update={"regularization": 0.0}))
    assert np.linalg.norm(pins[:, 1:], axis=1).mean() < np.linalg.norm(free[:, 1:], axis=1).mean()
