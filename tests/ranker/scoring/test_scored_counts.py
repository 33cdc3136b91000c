"""A scorer of `ranker.counts`: it knows what the log had counted by the beginning of the day that it is asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import ranker
from artifacts.embeddings import hash_ids
from artifacts.errors import DataError
from ranker.data.ids.exports import Export
from ranker.data.tabular.count_table import DAY_BITS
from ranker.experiment import model_directory
from ranker.scoring.scorer import Predictions
from tests.worlds.small_impressions import DAY, DAYS, START, SmallWorld, config, small_world

ROWS = 2500
COUNTS = [["user_id"], ["hour"], ["pin_id", "campaign"]]  # `hour` is nothing but counted
END = START + DAYS * DAY  # the midnight after the log's last row


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    torch.set_num_threads(1)
    world = small_world(tmp_path_factory.mktemp("world"), rows=ROWS)
    world.columns["hour"] = np.asarray(world.columns["ts"]) // 3600 % 24
    world.write()
    return world


def settings(**changes: Any) -> ranker.RankerConfig:
    return config(**{"counts": COUNTS, "fit": {"arm": "id_concat"}, **changes})


def fitted(world: SmallWorld, out: Path, **changes: Any) -> Predictions:
    """What the trained network says of all rows."""
    seen: list[Predictions] = []
    write = model_directory.ModelDirectory.write

    def first(self: Any, config: Any, log: Any, trained: Any, export: Any, prepared: Path, key: Any) -> None:
        with torch.no_grad():
            seen.append(
                model_directory.logits_of(trained.model, np.fromfile(prepared / "train.bin", trained.first.dtype), 0)
            )
        write(self, config, log, trained, export, prepared, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_directory.ModelDirectory, "write", first)
        ranker.fit(settings(**changes), world.root, Export(world.export, START - 1), out)
    return seen[0]


@pytest.fixture(scope="module")
def model(world: SmallWorld, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Predictions]:
    directory = tmp_path_factory.mktemp("models") / "model"
    return directory, fitted(world, directory)


@pytest.fixture
def scorer(model: tuple[Path, Predictions]) -> "ranker.Scorer":
    return ranker.Scorer(model[0])


def rows(world: SmallWorld, count: int = ROWS, **changes: Any) -> dict[str, Any]:
    table = pa.table(world.columns).slice(0, count)
    return {**{name: table[name] for name in table.column_names}, **changes}


def test_the_log_is_scored_as_in_training_without_columns_of_counts(
    model: tuple[Path, Predictions], scorer: "ranker.Scorer", world: SmallWorld
) -> None:
    found = scorer.score(rows(world))
    for task, name in (("ctr", "click"), ("cvr", "conversion")):
        expected = 1 / (1 + np.exp(-model[1][task].astype(np.float64)))
        assert expected.std() > 0.01 and np.abs(found[name] - expected).max() < 1e-6
    assert not set(scorer.columns) & set(settings().count_features)
    assert scorer.columns["hour"] == "integer" and scorer.columns["ts"] == "a number"


def test_a_later_day_is_told_all_that_the_log_counted(scorer: "ranker.Scorer", world: SmallWorld) -> None:
    """The same as with columns of these counts, made by hand; and something else than at the log's beginning."""
    later = rows(world, 300, ts=np.full(300, END + 3 * DAY))
    by_hand = {"user_id_impressions": world.columns["user_id"], "hour_impressions": world.columns["hour"]}
    given = {}
    for name, values in by_hand.items():
        keys, counts = np.unique(np.asarray(values), return_counts=True)
        of = dict(zip(keys.tolist(), counts.tolist(), strict=True))
        given[name] = [of[key] for key in np.asarray(values)[:300].tolist()]
    found = scorer.score(later)["click"]
    np.testing.assert_array_equal(found, scorer.score(later | given)["click"])
    assert np.abs(found - scorer.score(rows(world, 300, ts=np.full(300, START)))["click"]).max() > 0.01


def test_a_column_of_a_counts_name_comes_first(scorer: "ranker.Scorer", world: SmallWorld) -> None:
    plain = rows(world, 50, ts=np.full(50, END))
    for given in (plain | {"user_id_clicks": [40] * 50}, pa.table(plain).append_column("user_id_clicks", [[40] * 50])):
        assert np.abs(scorer.score(given)["click"] - scorer.score(plain)["click"]).max() > 1e-4
    with pytest.raises(DataError, match="columns: column user_id_clicks is text, but a number in training"):
        scorer.score(plain | {"user_id_clicks": ["4"] * 50})


def test_files_are_scored_alike(
    model: tuple[Path, Predictions], scorer: "ranker.Scorer", world: SmallWorld, tmp_path: Path
) -> None:
    """Also where one of two files has a column of counts."""
    (tmp_path / "new").mkdir()
    plain, given = rows(world, 40), rows(world, 40, user_id_clicks=pa.array([9] * 40))
    pq.write_table(pa.table(plain), tmp_path / "new/a.parquet")
    pq.write_table(pa.table(given), tmp_path / "new/b.parquet")
    out, export = tmp_path / "out.parquet", Export(world.export, None)
    ranker.score_parquet(settings(), model[0], str(tmp_path / "new"), out, export, None, lambda done: None)
    found = pq.read_table(out)["p_click"].to_numpy()
    expected = np.concatenate([scorer.score(plain)["click"], scorer.score(given)["click"]])
    np.testing.assert_allclose(found, expected, atol=1e-6)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no time": ({"ts": None}, "columns: no column 'ts', in training a number"),
    "no counted column": ({"hour": None}, "columns: no column 'hour', in training integer"),
    "another unit": ({"ts": np.full(50, 1_767_225)}, "row 0: ts is 1970-01-21T10:53:45Z, but from 2026-01-01"),
    "another kind": ({"hour": np.full(50, 3.0)}, "column hour is double, but integer in training"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_would_be_counted_as_nothing_is_refused(scorer: "ranker.Scorer", world: SmallWorld, kind: str) -> None:
    changes, message = WRONG[kind]
    given = {name: values for name, values in rows(world, 50, **changes).items() if values is not None}
    with pytest.raises(DataError, match=message):
        scorer.score(given)


@pytest.mark.parametrize("name", ["0.keys", "2.sums"])
def test_tables_that_are_not_whole_are_named(model: tuple[Path, Predictions], tmp_path: Path, name: str) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    for path in (path for path in model[0].rglob("*") if path.is_file()):
        (directory / path.relative_to(model[0]).parent).mkdir(exist_ok=True)
        (directory / path.relative_to(model[0])).write_bytes(path.read_bytes())
    ranker.Scorer(directory)
    (directory / "counts" / name).write_bytes((directory / "counts" / name).read_bytes()[:-8])
    with pytest.raises(DataError, match=f"counts/{name[0]}: expected a whole table of counts"):
        ranker.Scorer(directory)


def test_a_later_fit_without_counts_leaves_none(world: SmallWorld, tmp_path: Path) -> None:
    fitted(world, tmp_path / "model", fit={"arm": "none"})
    assert (tmp_path / "model/counts").is_dir()
    fitted(world, tmp_path / "model", fit={"arm": "none"}, counts=[])
    assert not (tmp_path / "model/counts").exists()
    ranker.Scorer(tmp_path / "model").score(rows(world, 5))


def test_nobody_to_forget_is_in_the_tables(world: SmallWorld, tmp_path: Path) -> None:
    """Also where an earlier fit in the same place had counted them."""
    user, out, export = world.columns["user_id"][0], tmp_path / "model", Export(world.export, START - 1)
    hash = hash_ids(pa.array([user], pa.large_string()))[0] >> DAY_BITS
    found = []
    for forgotten in ({}, {"user": [user]}):
        ranker.fit(settings(fit={"arm": "none"}), world.root, export, out, forgotten=forgotten)
        found.append(bool((np.fromfile(out / "counts/1.keys", np.uint64) >> DAY_BITS == hash).any()))
    assert found == [True, False]


def test_pseudonyms_are_counted_by(world: SmallWorld, tmp_path: Path) -> None:
    """The tables know pseudonyms alone; what is asked for are ids."""
    key, export = b"0123456789abcdef", Export(world.export, START - 1)
    arm, out = {"fit": {"arm": "none"}, "min_match_rate": 0}, tmp_path / "model"
    ranker.fit(settings(**arm), world.root, export, out, id_key=key)
    plain = tmp_path / "plain"
    ranker.fit(settings(**arm), world.root, export, plain)
    later = rows(world, 50, ts=np.full(50, END))
    np.testing.assert_allclose(
        ranker.Scorer(out, key).score(later)["click"], ranker.Scorer(plain).score(later)["click"], atol=1e-6
    )
