"""`make bench-rank` without the peers: they read our rows, parts are made once, ratios are the right way up."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.embeddings import Embeddings
from benchmarks import environment
from benchmarks.ranking import bench_rank
from benchmarks.ranking.bench_rank import Bench, concluded, even_batch, needs_vectors
from benchmarks.ranking.comparison.data import DATA_SETS, DataSet, ranker_config, write_config
from benchmarks.ranking.comparison.rows import PADDING, FuxiRows, Vocabulary, prepared_rows
from benchmarks.ranking.comparison.scores import (
    FUXI,
    OURS,
    Judge,
    auc_tree,
    best_boosting,
    end_to_end_ratio,
    speed_ratio,
    table,
    worst,
)
from benchmarks.ranking.comparison.speed import rate
from ranker.data.ids.join import NO_ID
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.records import Split, Summary, judged
from tests.worlds.small_impressions import SLOTS, SmallWorld, config, small_world, write_run

TIMED = {**SLOTS, "recent": {**SLOTS["recent"], "times": "recent_ts"}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    world = small_world(tmp_path_factory.mktemp("world"), rows=3000)
    times = zip(world.columns["ts"], world.columns["recent"], strict=True)
    ages = [[int(ts) - 3600 * (place + 1) for place in range(len(ids))] for ts, ids in times]
    world.write(recent_ts=ages, row=[f"r{row}" for row in range(3000)])
    write_run(world.root / "run", world.export)
    return world


@pytest.fixture(scope="module")
def made(world: SmallWorld) -> tuple[FuxiRows, Summary]:
    slots = {**TIMED, "row": {"side": "user"}}
    settings = config(slots=slots, training={"keep_negatives": 0.5})
    summary = prepared_rows(settings, world.root, world.root / "run", world.root / "rows")
    return FuxiRows(settings, summary, world.root / "rows" / "prepared", Embeddings(world.export)), summary


def test_rows_are_those_that_our_arms_read(world: SmallWorld, made: tuple[FuxiRows, Summary]) -> None:
    rows, summary = made
    rows.write("ctr", world.root / "ctr")
    records = Split.of(world.root / "rows" / "prepared", "test", summary)
    test = records.read(0, len(records))
    with np.load(world.root / "ctr" / "test.npz") as columns:
        assert (columns["label"] == test["click"]).all()
        np.testing.assert_array_equal(columns["category_device"], test["categoricals"][:, 0])
        np.testing.assert_array_equal(columns["number_age"], np.nan_to_num(test["numerics"][:, 1]))
        np.testing.assert_array_equal(columns["age_recent"], test["ages"][:, 0])
        assert ((columns["id_recent"] == PADDING) == (test["hashes"][:, 1:6] == NO_ID)).all()
        # Equal ids have equal places, in lists and as ads, and different ids (training has them all) different ones.
        places = np.concatenate([columns["id_recent"].ravel(), columns["id_pin_id"]])
        ids = np.concatenate([test["hashes"][:, 1:6].ravel(), test["hashes"][:, 6]])
        assert len(set(zip(places.tolist(), ids.tolist(), strict=True))) == len(set(ids.tolist())) == len(set(places))


def test_an_id_of_every_row_alone_is_left_out(made: tuple[FuxiRows, Summary]) -> None:
    features = made[0].features()
    assert "id_row" not in features and features["id_pin_id"]["share_embedding"] == "id_recent"
    assert {"id_user_id", "id_recent", "id_pin_id", "id_campaign", "age_recent"} <= set(features)


def test_codes_lie_within_the_feature_map(made: tuple[FuxiRows, Summary]) -> None:
    rows, features = made[0], made[0].features()
    for records in rows.records.values():
        for name, values in rows.columns(records).items():
            if features[name]["type"] != "numeric":
                assert values.min() >= 0 and values.max() < features[name]["vocab_size"], name


def test_clicks_stay_and_negatives_are_sampled_in_training_alone(
    world: SmallWorld, made: tuple[FuxiRows, Summary]
) -> None:
    rows, summary = made
    for task, share in (("ctr", 0.5), ("cvr", 1.0)):
        rows.write(task, world.root / task)
        assert json.loads((world.root / task / "features.json").read_text())["keep_negatives"] == share
        for name, records in rows.records.items():
            label = np.load(world.root / task / f"{name}.npz")["label"]
            of_task = judged(task, records["click"], records["conversion"])
            truth = records["click" if task == "ctr" else "conversion"][of_task]
            assert label.sum() == truth.sum()
            negatives = (label == 0).sum() / (truth == 0).sum()
            assert negatives == pytest.approx(share if name == "train" else 1.0, abs=0.08)


def test_places_of_new_ids() -> None:
    """Training knows 5 and 7; of 9 and 11, which come later, the export knows 11."""
    vocabulary = Vocabulary(np.array([7, 5, NO_ID, 7]), np.array([9, 11, 5]), np.array([-1, 3, 0]))
    assert vocabulary.places(np.array([NO_ID, 5, 7, 9, 11])).tolist() == [PADDING, 1, 2, vocabulary.other, 4]
    assert vocabulary.size == 5


def test_vectors_are_those_of_their_ids(world: SmallWorld, made: tuple[FuxiRows, Summary]) -> None:
    rows, _ = made
    rows.write("ctr", world.root / "ctr")
    rows.write_vectors(world.root / "ctr")
    with np.load(world.root / "ctr" / "id_pin_id.npz") as file:
        vectors = dict(zip(file["key"].astype(int).tolist(), file["value"], strict=True))
    export = Embeddings(world.export)
    records = rows.records["test"][:50]
    places = rows.columns(records)["id_pin_id"]
    for place, row in zip(places, records["rows"][:, 0, 6], strict=True):
        expected = np.asarray(export.vectors("pin")[int(row)], np.float64)
        assert np.dot(vectors[int(place)], expected) == pytest.approx(
            np.linalg.norm(vectors[int(place)]) * np.linalg.norm(expected), rel=1e-5
        )
    vocabulary = json.loads((world.root / "ctr" / "feature_vocab.json").read_text())
    assert set(map(int, vocabulary["id_pin_id"])) == set(vectors)


def options(root: Path, **changes: Any) -> argparse.Namespace:
    values = {"root": root, "impressions": None, "seed": 0, "run": root / "run", "lightgbm": root, "fuxictr": root}
    return argparse.Namespace(**{**values, **changes})


@pytest.fixture
def bench(world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    path = tmp_path / "small.json"
    path.write_text(json.dumps({"ranker": config().model_dump(mode="json")}))
    monkeypatch.setitem(DATA_SETS, "demo", DataSet(str(path)))
    monkeypatch.setattr(bench_rank, "RANK", tmp_path)
    return Bench("demo", options(world.root))


def test_a_finished_part_is_read_and_not_made_again(bench: Bench) -> None:
    made: list[int] = []

    def make() -> dict[str, Any]:
        made.append(1)
        return {"seconds": 1.0}

    assert bench.part("none", make) == bench.part("none", make) and len(made) == 1
    bench.key = "another config"
    bench.part("none", make)
    assert len(made) == 2


def test_a_part_that_failed_is_made_again(bench: Bench) -> None:
    def fails() -> dict[str, Any]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        bench.part("none", fails)
    assert bench.part("none", lambda: {"seconds": 2.0})["seconds"] == 2.0


def test_the_outcome_of_finished_parts(bench: Bench, world: SmallWorld) -> None:
    """Metrics are of the stored predictions, and a better model is ahead."""
    summary = prepared_rows(bench.config, world.root, world.root / "run", bench.rows)
    judge = Judge.of(bench.rows / "prepared", summary, 20)
    rng = np.random.default_rng(0)
    for name, noise in ((OURS, 0.3), ("none", 3.0), ("lightgbm_plain", 1.0)):
        cost = {"seconds": 1.0, "processor_seconds": 1.0, "peak_bytes": 1, "valid_logloss": {"ctr": 1, "cvr": 1}}
        speed = {"batch": 2048, "examples_per_second": 1.0, "examples_per_processor_second": 2.0}
        bench.part(name, lambda cost=cost, speed=speed: {**cost, "speed": speed})
        for task in ("ctr", "cvr"):
            y = judge.truth.labels(task)[judge.truth.rows(task)]
            p = 1 / (1 + np.exp(-(y - 0.5 + noise * rng.normal(size=len(y)))))
            np.save(bench.predictions / f"{name}-{task}.npy", p)
    bench.part("rows", lambda: {"seconds": 0.0})
    found = bench.outcome([OURS, "none", "lightgbm_plain"])
    difference = found["differences"]["ctr"]["none"]
    assert difference["interval"][0] > 0 and difference["interval"][0] < difference["difference"]
    tree = auc_tree(found)
    assert tree["lightgbm"] == tree["lightgbm_plain"] and tree[OURS]["ctr"] > tree["none"]["ctr"]
    assert "`attention` - `none`: +" in table("demo", found)
    assert concluded({"demo": found})["auc"] == {"demo": tree}


def test_ratios() -> None:
    def part(rate: float, seconds: float, batch: int = 2048) -> dict[str, Any]:
        return {"speed": {"batch": batch, "examples_per_processor_second": rate}, "seconds": seconds}

    parts = {OURS: part(8.0, 10.0), FUXI: part(4.0, 50.0)}
    assert (speed_ratio(parts), end_to_end_ratio(parts)) == (2.0, 5.0)
    assert speed_ratio({OURS: part(8.0, 10.0)}) is None
    with pytest.raises(ValueError, match="batches of 2048 and 256"):
        speed_ratio({OURS: part(8.0, 10.0), FUXI: part(4.0, 50.0, batch=256)})
    assert worst({"demo": 3.0, "criteo": None, "globo": 2.0}) == 2.0 and worst({"criteo": None}) is None


def test_the_boosting_that_counts_is_best_on_validation_and_has_no_vectors() -> None:
    losses = {"lightgbm_plain": 0.3, "lightgbm_lists": 0.2, "lightgbm_cosines": 0.1}
    parts = {name: {"tasks": {"ctr": {}}, "valid_logloss": {"ctr": loss}} for name, loss in losses.items()}
    assert best_boosting(parts, "ctr") == "lightgbm_lists" and best_boosting(parts, "cvr") is None


def test_examples_a_second_leave_out_what_was_before_the_first_stamp() -> None:
    found = rate([(100.0, 50.0), (101.0, 50.5), (102.0, 51.0)], 64)
    assert (found["examples_per_second"], found["examples_per_processor_second"]) == (640.0, 1280.0)


def test_batches_are_even() -> None:
    assert even_batch(1_000_000, 1.0) == 2048
    assert even_batch(3000, 1.0) == 1500 and even_batch(3000, 0.5) == 1500 and even_batch(1000, 1.0) == 1000


def test_models_without_a_graph() -> None:
    alone = [name for name in bench_rank.MODELS if not needs_vectors(name)]
    assert alone == ["none", *(f"lightgbm_{k}" for k in ("plain", "counts", "lists")), "fuxictr_dcnv2", "fuxictr_din"]


def test_every_data_set_has_a_config() -> None:
    for data in DATA_SETS.values():
        assert not list(ranker_config(data.path).problems())


def test_a_log_cut_to_size_has_whole_users(world: SmallWorld, tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    path.write_text(json.dumps({"ranker": config().model_dump(mode="json")}))
    cut = ranker_config(write_config(DataSet(str(path)), world.root, 900, 3, tmp_path))
    users = [u for block in ImpressionLog(cut, world.root).blocks() for u in block.column("user_id").to_pylist()]
    assert cut.training.seeds == (3,) and 500 < len(users) < 1300
    whole = list(world.columns["user_id"])
    assert all(whole.count(user) == users.count(user) for user in set(users))
    assert Path(__file__).resolve().parents[2] == environment.REPOSITORY
