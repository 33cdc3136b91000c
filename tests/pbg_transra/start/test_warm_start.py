"""`model.warm_start`: what a training takes over from a published run, by id, and where new entities begin."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torchbiggraph.checkpoint_manager import CheckpointManager

from artifacts.errors import ConfigError
from artifacts.formats.graph import edge_path
from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.evaluation.report import evaluate
from pbg_transra.known import keep_known
from pbg_transra.pbg.checkpoint import Checkpoint, as_matrices
from pbg_transra.start.first_values import DIRECTORY
from pbg_transra.start.from_run import SUMS_KEPT, adopt_run
from pbg_transra.start.published import PublishedModel
from tests.worlds.small_graphs import Triples, write_graph
from tests.worlds.warm_world import CONFIG, GROUPS, PINS, USERS, WARM, by_id, night, trained


def test_what_is_known_is_found_by_id(yesterday: PublishedModel, today: Path, tmp_path: Path) -> None:
    told = adopt_run(yesterday, today, WARM, tmp_path)
    assert (told.known, told.placed, told.random, told.new_relations) == (48 + PINS, 16, 0, ())
    before, start = by_id(yesterday.graph_dir, yesterday.model_dir), by_id(today, tmp_path)
    assert len(before) == 48 and len(start) == USERS
    for id, (vector, total) in before.items():
        np.testing.assert_array_equal(start[id][0], vector)
        assert start[id][1] == pytest.approx(SUMS_KEPT * total)


def test_who_was_never_trained_is_new(yesterday: PublishedModel, today: Path, tmp_path: Path) -> None:
    """Random values are not taken over for what they are not, unless that training had taken them over itself."""
    shutil.copytree(yesterday.graph_dir, before := tmp_path / "before")
    for path in edge_path(before, "train").glob("edges_0_*.h5"):
        with h5py.File(path, "r+") as file:
            kept = file["lhs"][...] != 0
            for name in list(file):
                values = file[name][...]
                del file[name]
                file[name] = values[kept]
    shutil.copytree(yesterday.model_dir, model := tmp_path / "model")
    published = PublishedModel("r1", before, model, CONFIG)
    assert adopt_run(published, today, WARM, tmp_path / "one").known == 47 + PINS
    for kind, count in (("user", 24), ("pin", PINS // 2)):
        for partition in range(2):
            keep_known(model, kind, partition, np.ones(count, bool))
    assert adopt_run(published, today, WARM, tmp_path / "other").known == 48 + PINS


@pytest.mark.parametrize(("partitions", "shuffled"), [(1, None), (4, 6)])
def test_neither_partitions_nor_order_matter(
    yesterday: PublishedModel, tmp_path: Path, partitions: int, shuffled: int | None
) -> None:
    """Also not for the new entities, which begin where their edges put them."""
    found = []
    for name, parts, order in (("one", 2, None), ("other", partitions, shuffled)):
        night(tmp_path / name, parts, USERS, order)
        adopt_run(yesterday, tmp_path / name, WARM, tmp_path / f"{name}_model")
        found.append(by_id(tmp_path / name, tmp_path / f"{name}_model"))
    assert found[0].keys() == found[1].keys()
    for id, (vector, _) in found[0].items():
        np.testing.assert_allclose(found[1][id][0], vector, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operator", ["transra", "transra_untied"])
def test_a_new_entity_solves_what_its_edges_say(tmp_path: Path, operator: Any) -> None:
    """Against numpy's least squares, with projections and translations that are far from nothing."""
    config = ModelConfig(operator=operator, anchors=("click",), dimension=4, similarity="squared_l2", scale=1, pull=0,
                         epochs=20, relation_lr=0.3, workers=1)  # fmt: skip
    night(tmp_path / "before", 1, 48)
    trained(tmp_path / "before", tmp_path / "model", config)
    night(tmp_path / "graph", 1, USERS)
    published = PublishedModel("r1", tmp_path / "before", tmp_path / "model", config)
    adopt_run(published, tmp_path / "graph", config.model_copy(update={"warm_start": "latest"}), tmp_path / "start")
    users, pins = (by_id(tmp_path / "graph", tmp_path / "start", kind) for kind in ("user", "pin"))
    rows, targets = [], []
    for relation, heads, tails in train_edges(tmp_path / "graph"):
        values = as_matrices(Checkpoint(tmp_path / "model").relation_parameters(relation), 4)
        left = values.get("projection", values.get("left_projection", np.eye(4)))
        right = values.get("projection", values.get("right_projection", np.eye(4)))
        for tail in tails[heads == 50]:
            rows.append(left)
            targets.append(right @ pins[f"p{tail}"][0] - values["translation"])
    expected = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=None)[0]
    np.testing.assert_allclose(users["u50"][0], expected, rtol=0.02, atol=0.02)


def train_edges(graph_dir: Path) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Of each relation, global rows of heads and tails, in a graph of one partition."""
    from artifacts.formats.bucket_file import BucketFile
    from artifacts.formats.graph import Bucket, bucket_path

    with BucketFile(bucket_path(graph_dir, "train", Bucket(0, 0))) as file:
        columns = file.columns()
    return [(r, columns.lhs[columns.rel == r], columns.rhs[columns.rel == r]) for r in range(2)]


def mrr(graph_dir: Path, model_dir: Path, config: ModelConfig) -> float:
    found = evaluate(graph_dir, model_dir, config, EvaluateConfig(), lambda label, fraction: None)
    return float(found["mrr"])


def test_a_third_of_the_epochs(yesterday: PublishedModel, today: Path, tmp_path: Path) -> None:
    """A warm training is as good as a cold one of three times its epochs, and better than a cold one of its own."""
    trained(today, tmp_path / "cold", CONFIG)
    trained(today, tmp_path / "short", CONFIG.model_copy(update={"epochs": 3}))
    adopt_run(yesterday, today, WARM, tmp_path / "warm")
    trained(today, tmp_path / "warm", WARM)
    cold, short, warm = (mrr(today, tmp_path / name, CONFIG) for name in ("cold", "short", "warm"))
    assert warm > 0.97 * cold and warm > short, (warm, cold, short)


def test_new_entities_begin_better_than_at_random(yesterday: PublishedModel, today: Path, tmp_path: Path) -> None:
    """Before any training: the nearest pins of a new user are of its group."""
    adopt_run(yesterday, today, WARM, tmp_path)
    users, pins = by_id(today, tmp_path), by_id(today, tmp_path, "pin")
    table = np.stack([pins[f"p{pin}"][0] for pin in range(PINS)])
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    right = [int(np.argmax(table @ users[f"u{user}"][0])) % GROUPS == user % GROUPS for user in range(48, USERS)]
    assert np.mean(right) > 0.9


def test_without_an_edge_to_what_is_known_it_begins_at_random(yesterday: PublishedModel, tmp_path: Path) -> None:
    edges = [Triples("click", "train", np.array([0, 49]), np.array([0, 41]))]  # p41 is as new as u49
    (tmp_path / "graph").mkdir()
    write_graph(tmp_path / "graph", {"user": [50], "pin": [42]}, {"click": ("user", "pin")}, edges)
    told = adopt_run(yesterday, tmp_path / "graph", WARM, tmp_path / "start")
    assert (told.known, told.placed, told.random) == (48 + 40, 0, 4)
    assert all(
        np.isfinite(vector).all() and vector.any()
        for vector, _ in by_id(tmp_path / "graph", tmp_path / "start").values()
    )


@pytest.mark.parametrize("swapped", [False, True])
def test_what_is_placed_is_heard(yesterday: PublishedModel, tmp_path: Path, swapped: bool) -> None:
    """A new user of a new pin is where the users are who know that pin, whichever of the types is placed first."""
    old = np.arange(0, 48, GROUPS)  # of one group
    edges = [Triples("click", "train", np.append(old, 48), np.full(len(old) + 1, 40))]
    types = {"user": [49], "pin": [41]}
    (tmp_path / "graph").mkdir()
    write_graph(tmp_path / "graph", dict(sorted(types.items(), reverse=swapped)), {"click": ("user", "pin")}, edges)
    told = adopt_run(yesterday, tmp_path / "graph", WARM, tmp_path / "start")
    assert (told.known, told.placed, told.random) == (48 + 40, 2, 0)
    users, pins = (by_id(tmp_path / "graph", tmp_path / "start", kind) for kind in ("user", "pin"))
    known = np.stack([pins[f"p{pin}"][0] for pin in range(40)])
    nearest = np.argsort(known @ users["u48"][0] / np.linalg.norm(known, axis=1))[-5:]
    assert (nearest % GROUPS == 0).mean() > 0.5


class Killed(Exception):
    pass


@pytest.mark.parametrize(("bucket", "drift"), [(0, None), (7, 0.05), (20, 0.05)])
def test_a_warm_training_stopped_anywhere_ends_as_if_it_had_not_been(
    yesterday: PublishedModel, today: Path, tmp_path: Path, bucket: int, drift: float | None
) -> None:
    config = WARM.model_copy(update={"checkpoint_seconds": 1e-9, "max_drift": drift, "epochs": 2})
    seen: list[Any] = []

    def stop(done: Any) -> None:
        seen.append(done)
        if len(seen) > bucket:
            raise Killed

    for name in ("whole", "cut"):
        adopt_run(yesterday, today, config, tmp_path / name)
    trained(today, tmp_path / "whole", config)
    with pytest.raises(Killed):
        trained(today, tmp_path / "cut", config, stop)
    if bucket == 0:
        adopt_run(yesterday, today, config, tmp_path / "cut")  # as the stage does before a pass is committed
    trained(today, tmp_path / "cut", config)
    whole, cut = (by_id(today, tmp_path / name) for name in ("whole", "cut"))
    for id, (vector, _) in whole.items():
        np.testing.assert_array_equal(cut[id][0], vector)
    assert not (tmp_path / "cut" / DIRECTORY).exists()


def test_no_known_vector_goes_beyond_the_bound(yesterday: PublishedModel, today: Path, tmp_path: Path) -> None:
    before = by_id(yesterday.graph_dir, yesterday.model_dir)

    def moved(name: str, bound: float | None) -> np.ndarray:
        config = WARM.model_copy(update={"max_drift": bound})
        adopt_run(yesterday, today, config, tmp_path / name)
        trained(today, tmp_path / name, config)
        after = by_id(today, tmp_path / name)
        return np.array([np.linalg.norm(after[id][0] - v) / np.linalg.norm(v) for id, (v, _) in before.items()])

    free, held = moved("free", None), moved("held", 0.05)
    assert free.max() > 0.06, "the bound would say nothing here"
    assert held.max() <= 0.05 * 1.0001 and np.isclose(held, 0.05, rtol=1e-3).any()


def test_a_bias_and_its_constant_stay_in_their_place(tmp_path: Path) -> None:
    config = ModelConfig(
        anchors=("click",), dimension=4, similarity="dot", scale=1, tail_bias=True, epochs=2, workers=1
    )
    night(tmp_path / "before", 1, 48)
    trained(tmp_path / "before", tmp_path / "model", config)
    night(tmp_path / "graph", 2, USERS)
    published = PublishedModel("r1", tmp_path / "before", tmp_path / "model", config)
    adopt_run(published, tmp_path / "graph", config.model_copy(update={"warm_start": "latest"}), tmp_path / "start")
    firsts = {float(vector[0]) for vector, _ in by_id(tmp_path / "graph", tmp_path / "start").values()}
    assert firsts == {float(torch.tensor(0.17))}


@pytest.mark.parametrize(
    "change", [{"dimension": 16}, {"operator": "transra_untied"}, {"anchors": ("save",)}, {"similarity": "dot"}]
)
def test_another_space_is_refused_with_the_way_out(
    yesterday: PublishedModel, today: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as raised:
        adopt_run(yesterday, today, WARM.model_copy(update=change), tmp_path)
    assert next(iter(change)) in str(raised.value) and "model.warm_start=null" in str(raised.value)


def test_a_new_relation_begins_as_in_a_new_model(yesterday: PublishedModel, tmp_path: Path) -> None:
    edges = [
        Triples("click", "train", np.arange(3), np.arange(3)),
        Triples("share", "train", np.arange(3), np.arange(3)),
    ]
    relations = {"share": ("user", "pin"), "click": ("user", "pin")}
    (tmp_path / "graph").mkdir()
    write_graph(tmp_path / "graph", {"user": [48], "pin": [40]}, relations, edges)
    told = adopt_run(yesterday, tmp_path / "graph", WARM, tmp_path / "start")
    assert told.new_relations == ("share",)
    model = CheckpointManager(str(tmp_path / "start")).read_model()[0]
    click = Checkpoint(yesterday.model_dir).relation_parameters(0)["translation"]
    np.testing.assert_array_equal(model["rhs_operators.1.translation"].numpy(), click)
    assert not model["rhs_operators.0.translation"].any()
    assert torch.equal(model["rhs_operators.0.projection"].view(8, 8), torch.eye(8))
