"""The yardstick's hand-made features: no label of a row's own day, and lists as a plain loop reads them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from artifacts.embeddings import Embeddings
from benchmarks.ranking.comparison.features import PRIOR_ROWS, Rows, cosines, counts, earlier, lists
from ranker.data.log.impression_log import ImpressionLog
from tests.worlds.small_impressions import DAY, SLOTS, SmallWorld, config, small_world

TIMED = {**SLOTS, "recent": {**SLOTS["recent"], "times": "recent_ts"}}
SETTINGS = config(slots={**TIMED, "campaign": {"type": "pin", "side": "ad"}})


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    """Pins of one campaign each, and listed events 1, 2, 3... hours old."""
    world = small_world(tmp_path, rows=3000)
    world.columns["campaign"] = [f"c{int(pin[1:]) % 7}" for pin in world.columns["pin_id"]]
    world.columns["recent_ts"] = [
        [int(ts) - 3600 * (place + 1) for place in range(len(ids))]
        for ts, ids in zip(world.columns["ts"], world.columns["recent"], strict=True)
    ]
    world.write()
    return world


def test_sums_are_those_of_earlier_days() -> None:
    rng = np.random.default_rng(0)
    keys, days, values = rng.integers(0, 9, 500), rng.integers(0, 6, 500), rng.random(500)
    asked, on = rng.integers(0, 10, 200), rng.integers(0, 8, 200)
    found = earlier(keys, days, values, asked, on)
    expected = [values[(keys == key) & (days < day)].sum() for key, day in zip(asked, on, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("task", ["ctr", "cvr"])
def test_counts_know_nothing_of_a_rows_own_day(world: SmallWorld, task: str) -> None:
    """Labels of one day that only an id tells: its rates do not, and on the next day they do."""
    rows = Rows.of(ImpressionLog(SETTINGS, world.root), None)
    found = counts(rows, SETTINGS, task, 0.1)
    ts, click = np.asarray(world.columns["ts"]), np.asarray(world.columns["click"])
    conversion = np.asarray(world.columns["conversion"])
    happened = np.asarray(world.columns["conversion_ts"].fill_null(0)) // DAY
    for row in range(0, 3000, 97):
        day = ts[row] // DAY
        same = np.array(world.columns["pin_id"]) == world.columns["pin_id"][row]
        seen = same & (ts // DAY < day) & ((click == 1) | (task == "ctr"))
        positives = seen & (click == 1) if task == "ctr" else same & (conversion == 1) & (happened < day)
        assert (found["pin_id rows"][row], found["pin_id positives"][row]) == (seen.sum(), positives.sum())
        assert found["pin_id rate"][row] == pytest.approx(
            (positives.sum() + 0.1 * PRIOR_ROWS) / (seen.sum() + PRIOR_ROWS)
        )


def test_a_label_of_the_same_day_stays_unseen(world: SmallWorld) -> None:
    users = [f"u{row}" for row in range(3000)]  # each only once: nothing to learn from but its own label
    world.write(user_id=pa.array(users))
    rows = Rows.of(ImpressionLog(SETTINGS, world.root), None)
    found = counts(rows, SETTINGS, "ctr", 0.1)
    assert (found["user_id rate"] == 0.1).all() and (found["user_id x pin_id rows"] == 0).all()
    assert roc_auc_score(rows.click, found["campaign rate"]) < 0.6


def test_lists_are_what_a_loop_reads(world: SmallWorld) -> None:
    rows = Rows.of(ImpressionLog(SETTINGS, world.root), None)
    found = lists(rows, SETTINGS)
    for row in range(0, 3000, 61):
        ids, pin = world.columns["recent"][row], world.columns["pin_id"][row]
        campaigns = [f"c{int(one[1:]) % 7}" for one in ids]
        for name, listed, ad in (
            ("pin_id", ids, pin),
            ("campaign of pin_id", campaigns, world.columns["campaign"][row]),
        ):
            same = [one == ad for one in listed]
            assert found[f"recent = {name} first"][row] == (same.index(True) if any(same) else 5)
            assert found[f"recent = {name} of 3"][row] == sum(same[:3]) and found[f"recent = {name} last"][row] == any(
                same[:1]
            )
            age = found[f"recent = {name} age"][row]
            assert age == 3600 * (1 + same.index(True)) if any(same) else np.isnan(age)
        assert found["recent length"][row] == len(ids)
        assert found["recent age 0"][row] == 3600 if ids else np.isnan(found["recent age 0"][row])


def test_cosines_are_those_of_exported_vectors(world: SmallWorld) -> None:
    export = Embeddings(world.export)
    rows = Rows.of(ImpressionLog(SETTINGS, world.root), export)
    found = cosines(rows, SETTINGS, export)
    pins, users = (np.asarray(export.vectors(kind), np.float64) for kind in ("pin", "user"))
    for row in range(0, 3000, 61):
        ad, user = pins[int(world.columns["pin_id"][row][1:])], int(world.columns["user_id"][row][1:])
        listed = [pins[int(one[1:])] for one in world.columns["recent"][row]]
        each = [cosine(one, ad) for one in listed]
        expected = cosine(users[user], ad) if user < len(users) else 0
        assert found["user_id . pin_id"][row] == pytest.approx(expected, abs=1e-5)
        assert found["recent . pin_id max 3"][row] == pytest.approx(max(each[:3], default=-1), abs=1e-5)
        assert found["recent . pin_id mean 5"][row] == pytest.approx(np.mean(each) if each else 0, abs=1e-5)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
