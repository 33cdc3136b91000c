"""`make bench-gap`: gaps are what they are called, cells are made once, distances and plots say what there is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from artifacts.embeddings import Embeddings
from benchmarks.ranking.gap.cells import ARMS, NO_GAP, Cell, Experiment, cells
from benchmarks.ranking.gap.distances import covariance_distance, distances, effective_dimension, mmd
from benchmarks.ranking.gap.distances import table as distance_table
from benchmarks.ranking.gap.draws import KINDS, DrawnExport, Gap, Kind, noised, rescaled, rotated, shifted
from benchmarks.ranking.gap.plot import plot
from benchmarks.ranking.gap.tables import Judge, table
from ranker.data.batch import Batch
from tests.worlds.small_impressions import config, small_world, write_run


def vectors(rows: int = 200, width: int = 9) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(rows, width))


def test_a_rotation_keeps_inner_products_and_turns_by_its_size() -> None:
    given = vectors(width=8)
    for size in (30, 60, 90):
        found = rotated(given, size, np.random.default_rng(0))
        np.testing.assert_allclose(found @ found.T, given @ given.T, atol=1e-9)
        cosines = (found * given).sum(axis=1) / (np.linalg.norm(given, axis=1) ** 2)
        np.testing.assert_allclose(cosines, np.cos(np.radians(size)), atol=1e-9)
    assert rotated(vectors(), 60, np.random.default_rng(0)).shape == (200, 9)  # an odd one has an axis that stays


def test_scales_keep_directions_a_shift_keeps_differences() -> None:
    given = vectors()
    factors = np.linalg.norm(rescaled(given, 1, np.random.default_rng(0)), axis=1) / np.linalg.norm(given, axis=1)
    assert np.log(factors).std() == pytest.approx(1, abs=0.2)
    moved = shifted(given, 2, np.random.default_rng(0)) - given
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape))
    typical = np.sqrt(np.square(given).sum(axis=1).mean())
    assert np.linalg.norm(moved[0]) == pytest.approx(2 * typical)
    noise = noised(given, 2, np.random.default_rng(0)) - given
    assert np.sqrt(np.square(noise).sum(axis=1).mean()) == pytest.approx(2 * typical, rel=0.05)
    assert np.abs(np.corrcoef(noise.T) - np.eye(9)).max() < 0.35


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Experiment]:
    world = small_world(tmp_path, rows=2000)
    run = write_run(world.root / "run", world.export)
    for kind in [name for name in KINDS if name not in ("noised", "missing")]:
        monkeypatch.delitem(KINDS, kind)
    monkeypatch.setitem(KINDS, "noised", Kind((1,), "", noised))
    monkeypatch.setitem(KINDS, "missing", Kind((0.5,), ""))
    yield Experiment(config(training={"batch_size": 256}), world.root, {0: run}, world.root / "gap", "one")


def test_cells_are_made_once_and_told(experiment: Experiment) -> None:
    every = list(cells([0]))
    assert len({cell.name for cell in every}) == len(every) == len(ARMS) + 2 * 2
    made = [experiment.made(cell) for cell in every]
    assert made == [experiment.made(cell) for cell in every]
    for task in ("ctr", "cvr"):
        judge = Judge(experiment, task, [0])
        lines = judge.lines()
        assert [(line["kind"], line["arm"]) for line in lines[:2]] == [("noised", arm) for arm in ARMS[1:]]
        assert all(line["change"] == pytest.approx(line["auc"] - judge.base[line["arm"]]) for line in lines)
        assert f"`none` {judge.base['none']:.4f}" in table(task, judge.base, lines)
        drawn = ElementTree.fromstring(plot("AUC < 1", judge.base, lines))
        ways = drawn.findall(".//{*}polyline")
        assert len(ways) == len(KINDS) * len(ARMS) and len(drawn.findall(".//{*}rect")) == len(KINDS) + 1
    told = list(distances(experiment.trained(Cell("attention", NO_GAP, 0)), experiment.splits["train"], 0))
    assert [one["slot"] for one in told] == ["user_id", "pin_id"] and "`pin_id`" in distance_table(told)
    assert told[0]["entities"] > 100 and told[0]["after"]["length"] > 0


def test_another_log_or_export_makes_cells_anew(experiment: Experiment) -> None:
    cell = Cell("none", NO_GAP, 0)
    first = experiment.made(cell)
    experiment._key = "two"
    assert experiment.made(cell)["key"] == "two" != first["key"]


def test_a_missing_entity_is_one_that_the_export_does_not_know(experiment: Experiment) -> None:
    model = experiment.model(Cell("attention", Gap("missing", 0.5), 0)).eval()
    batch = Batch.of(experiment.splits["test"].read(0, 200), 0)
    left = model._left(batch.rows)
    assert ((left == batch.rows) | (left == -1)).all()
    known = batch.rows >= 0
    assert 0.3 < (left[known] == -1).float().mean() < 0.7
    found, model._lost = model(batch)["ctr"], {}
    assert torch.equal(found, model(replace(batch, rows=left))["ctr"])
    assert not torch.equal(found, model(batch)["ctr"])


def test_a_drawn_export_keeps_degrees_and_differs_by_seed(experiment: Experiment) -> None:
    path = experiment._paths[0]
    whole, one, same, other = (
        Embeddings(path),
        *(DrawnExport(path, Gap("noised", 1), experiment.types, seed) for seed in (0, 0, 1)),
    )
    assert np.array_equal(one.vectors("pin"), same.vectors("pin"))
    assert not np.array_equal(one.vectors("pin"), other.vectors("pin"))
    assert not np.array_equal(one.vectors("pin"), whole.vectors("pin"))
    degrees, expected = one.degrees("pin"), whole.degrees("pin")
    assert degrees is not None and expected is not None and np.array_equal(degrees, expected)


def test_distances_of_clouds() -> None:
    torch.manual_seed(0)
    cloud, same, line = torch.randn(1000, 8), torch.randn(1000, 8), torch.randn(1000, 1) * torch.ones(8)
    assert effective_dimension(cloud) == pytest.approx(8, rel=0.05)
    assert effective_dimension(line) == pytest.approx(1, rel=1e-3)
    assert covariance_distance(cloud, 5 * cloud) == pytest.approx(0, abs=1e-5)
    assert covariance_distance(cloud, same) < 0.2 < covariance_distance(cloud, line)
    assert mmd(cloud, 3 * same) < 0.05 < mmd(cloud, line)
    assert mmd(cloud, same) < mmd(cloud, same + 0.5) < mmd(cloud, same + 2)
