"""Numbers and times: what can hardly be meant is refused, with the row or the key that says it."""

import shutil
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from artifacts.errors import ConfigError, DataError
from partitioning import GraphConfig
from partitioning.buckets.bucket_edges import sum_repeats
from partitioning.events.weights import INVALID, MOST, MOST_UNITS, UNIT
from tests.partitioning.test_errors import check, config, failure, log, relation
from tests.worlds.ledger_world import build as build_night
from tests.worlds.partitioning_reference import build, weighted_edges

NOW = 1_767_225_600  # 2026-01-01
DAY = 86_400


def timed(unit: str = "s") -> dict:
    return {"log": {"path": "log.parquet", "time_column": "ts", "time_unit": unit}}


@pytest.mark.parametrize("moment", [True, -1, 1_760_000_000_000, 7_258_118_400, "2300-01-01", "1969-12-31", "soon"])
@pytest.mark.parametrize("key", ["valid_from", "test_from", "until"])
def test_moments_of_the_config_are_plausible(moment, key):
    time_split = {"valid_from": "2026-01-01", "test_from": "2026-01-02", "until": "2026-01-03", key: moment}
    with pytest.raises(ValidationError, match="1970 to 2200|is not a time|is no time"):
        GraphConfig.model_validate(config(split={"time": time_split}))


@pytest.mark.parametrize(("unit", "scale", "really"), [("ms", 1, "s"), ("us", 1, "s"), ("us", 1000, "ms")])
def test_a_finer_unit_than_the_datas_is_refused(tmp_path, unit, scale, really):
    log(ts=[(NOW + at) * scale for at in range(3)]).to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(sources=timed(unit)))
    check(error, ConfigError, "log.parquet, row 1: ", "the year 1970", f"graph.sources.log.time_unit to be '{really}'")


@pytest.mark.parametrize("odd", [0, 1, 315_532_800])
def test_one_old_time_beside_new_ones_is_named(tmp_path, odd):
    log(ts=[NOW, odd, NOW + 1]).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config()), DataError, f"log.parquet, row 2: column 'ts' has {odd}, the year", "of 2026")
    shutil.rmtree(tmp_path / "graph")
    build(config(relations=[relation(where=f"ts <> {odd}")]), tmp_path, tmp_path / "graph")


def test_old_dates_are_dates_but_a_default_is_not(tmp_path):
    source = {"log": {"path": "log.parquet", "time_column": "ts"}}
    log(ts=pd.to_datetime(["1975-05-01", "2026-01-01", "1999-01-01"])).to_parquet(tmp_path / "log.parquet")
    build(config(sources=source), tmp_path, tmp_path / "graph")
    shutil.rmtree(tmp_path / "graph")
    log(ts=pd.to_datetime(["2026-01-01", "1970-01-01", "1999-01-01"])).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config(sources=source)), DataError, "row 2: column 'ts' has 1970-01-01", "of 2026")


@pytest.mark.parametrize(("unit", "value"), [("ms", -500), ("us", -1)])
def test_a_fraction_before_1970_is_not_1970(tmp_path, unit, value):
    log(ts=[10, value, 30]).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config(sources=timed(unit))), DataError, f"row 2: column 'ts' has {value}, the year 1969")


@pytest.mark.parametrize("used", ["ts", "where"])
def test_a_whole_number_of_more_than_63_bits_is_no_time(tmp_path, used):
    log(ts=np.array([NOW, 2**64 - 1, NOW], np.uint64)).to_parquet(tmp_path / "log.parquet")
    raw = config(relations=[relation(where="ts > 0")] if used == "where" else [relation()])
    check(failure(tmp_path, raw), DataError, f"log.parquet, row 2: column 'ts' has '{2**64 - 1}'; expected a number")


def test_an_event_of_the_future_does_not_age_all_others(tmp_path):
    weighted = relation(weight="1", half_life_days=7)
    log(ts=[NOW, NOW, int(time.time()) + 3 * DAY]).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config(relations=[weighted])), DataError, "lies in the future", "graph.split.time")
    shutil.rmtree(tmp_path / "graph")
    log(ts=[NOW, NOW, NOW + 7 * DAY]).to_parquet(tmp_path / "log.parquet")
    build(config(relations=[weighted]), tmp_path, tmp_path / "graph")
    assert sorted(weighted_edges(tmp_path / "graph").values()) == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("weight", [1e300, float("inf"), float("nan"), 0.0, -1.0, MOST * 1.01])
def test_a_weight_out_of_range_is_named(tmp_path, weight):
    log(amount=[1.0, weight, 2.0]).to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(relations=[relation(weight="amount")]))
    check(
        error, DataError, "log.parquet, row 2: graph.relations[0].weight is", "a positive number up to 274,877,906,944"
    )


def test_weights_that_all_count_alike_are_refused(tmp_path):
    """1e-30 and 1e-300 were one weight. A single larger one tells them apart; with a half-life it may be their age."""
    light, heavier = log(amount=[1e-30, 1e-8, 8e-8]), log(amount=[1e-30, 1e-8, 1e-7])
    light.to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(relations=[relation(weight="amount")]))
    check(error, DataError, "graph.relations[0].weight: no weight of 'click' is above 9e-08", "(amount) * 16777216")
    for frame, changes in ((light, {"half_life_days": 1.0}), (heavier, {})):
        frame.to_parquet(tmp_path / "log.parquet")
        shutil.rmtree(tmp_path / "graph")
        build(config(relations=[relation(weight="amount", **changes)]), tmp_path, tmp_path / "graph")


def test_a_light_night_after_others_is_taken(tmp_path):
    raw = config(sources={"log": {"path": "log/*.parquet", "append_only": True}}, relations=[relation(weight="amount")])
    (tmp_path / "log").mkdir()
    for night, amount in ((1, 2.0), (2, 1e-9)):
        pd.DataFrame({"user": [1, 2], "pin": "a", "amount": amount}).to_parquet(tmp_path / f"log/{night}.parquet")
        build_night(tmp_path, raw, f"{night}", *(["1"] if night == 2 else []))


def test_a_sum_that_does_not_fit_is_refused(tmp_path):
    frame = pd.DataFrame({"user": 1, "pin": "a", "ts": 1, "amount": [2e9] * 300})
    frame.to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(relations=[relation(weight="amount")]))
    check(error, DataError, "graph.relations[0].weight: the weights of 'click'", "274,877,906,944", "(amount) / 1000")
    shutil.rmtree(tmp_path / "graph")
    build(config(relations=[relation(weight="amount / 1000")]), tmp_path, tmp_path / "graph")
    assert list(weighted_edges(tmp_path / "graph").values()) == [6e8]


def test_a_sum_that_does_not_fit_over_two_nights(tmp_path):
    sources = {"log": {"path": "log/*.parquet", "append_only": True}}
    raw = config(sources=sources, relations=[relation(weight="amount")])
    (tmp_path / "log").mkdir()
    for night in (1, 2):
        frame = pd.DataFrame({"user": [1] * 100, "pin": "a", "amount": 2e9})
        frame.to_parquet(tmp_path / f"log/{night}.parquet")
        if night == 1:
            build_night(tmp_path, raw, "first")
    with pytest.raises(DataError, match="the weights of 'click' between the same two entities sum to more than"):
        build_night(tmp_path, raw, "second", "first")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, MOST_UNITS), st.booleans()), min_size=1, max_size=12))
def test_sums_are_exact_or_invalid(events):
    keys = np.array([key for key, _, _ in events], np.uint64)
    units = np.array([units for _, units, _ in events])
    found, sums, _ = sum_repeats(keys.copy(), units.copy(), np.ones(len(keys), bool))
    for key, total in zip(found.tolist(), sums.tolist(), strict=True):
        exact = sum(units for one, units, _ in events if one == key)
        near = abs(exact - MOST_UNITS) <= MOST_UNITS >> 50  # float64 decides
        assert total == exact if exact <= MOST_UNITS else total == INVALID or near
    assert UNIT * MOST == MOST_UNITS
