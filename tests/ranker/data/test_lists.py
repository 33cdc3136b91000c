"""Lists that know order and age: what is read of them, what is refused, and that models learn from both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from ranker.config.arms import ARMS
from ranker.config.sections import RankerConfig
from ranker.data.batch import Batch
from ranker.data.ids.slots import Layout
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.lists import AGE_BUCKETS, age_buckets
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import Records, Split, Summary
from ranker.evaluation.predictions import predict
from ranker.model.attention.list_matches import UNITS, ListMatches
from ranker.model.list_facts import COUNT_SCALE, LAST, LATELY, SPREAD, STAIRS, WINDOWS, ListFacts, event_ages, windows
from ranker.model.ranker_model import RankerModel
from ranker.training.trainer import Training
from tests.worlds.small_impressions import (
    CAP,
    DAY,
    DIMENSION,
    SLOTS,
    SmallWorld,
    config,
    small_world,
    unit,
    write_export,
)

TIMED = {**SLOTS, "recent": {**SLOTS["recent"], "times": "recent_ts"}}
HOUR = 3600


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    """Impressions whose listed events happened 10 minutes, 20, 40, 80 and 160 minutes before."""
    torch.set_num_threads(1)
    world = small_world(tmp_path, rows=3000)
    world.columns["recent_ts"] = [
        [int(ts) - 600 * 2**place for place in range(len(ids))]
        for ts, ids in zip(world.columns["ts"], world.columns["recent"], strict=True)
    ]
    world.write()
    return world


def prepared(world: SmallWorld, settings: RankerConfig) -> tuple[Summary, Records]:
    """The records of train."""
    log = ImpressionLog(settings, world.root)
    directory = world.root / "prepared"
    exports = {"base": Embeddings(world.export)}
    summary = prepare(log, Windows.of(log), exports, str(hash(str(settings))), directory, lambda text, done: None)
    split = Split.of(directory, "train", summary)
    return summary, split.read(0, len(split))


def changed(world: SmallWorld, row: int, times: list[int | None] | None) -> list[Any]:
    """The log's times with others in one row."""
    return [times if at == row else list(old) for at, old in enumerate(world.columns["recent_ts"])]


def test_buckets_double_from_a_minute_to_a_year() -> None:
    seconds = np.array([[0, 59, 60, 179, 180, HOUR, DAY, 7 * DAY, 365 * DAY, 1e10, np.nan]])
    assert age_buckets(seconds).tolist() == [[1, 1, 2, 2, 3, 6, 11, 14, 20, AGE_BUCKETS, 0]]
    ages = np.geomspace(60, 300 * DAY, 500)[None]
    assert (np.diff(age_buckets(ages).astype(int)) >= 0).all() and len(np.unique(age_buckets(ages))) == AGE_BUCKETS - 2


def test_ages_are_those_of_the_listed_events(world: SmallWorld) -> None:
    _, records = prepared(world, config(slots=TIMED))
    lengths = np.array([len(ids) for ids in world.columns["recent"]])[: len(records)]
    expected = age_buckets(600.0 * 2.0 ** np.arange(CAP)[None])
    np.testing.assert_array_equal(records["ages"], np.where(np.arange(CAP) < lengths[:, None], expected, 0))
    _, records = prepared(world, config())
    assert records["ages"].shape[1] == 0, "a log whose lists have no times"


def test_a_list_longer_than_its_cap_keeps_the_ages_of_its_latest_events(world: SmallWorld) -> None:
    _, whole = prepared(world, config(slots=TIMED))
    _, cut = prepared(world, config(slots={**TIMED, "recent": {**TIMED["recent"], "cap": 2}}))
    np.testing.assert_array_equal(cut["ages"], whole["ages"][:, :2])


@pytest.mark.parametrize("unit", ["ms", "us", "timestamp", "text"])
def test_times_of_lists_are_read_as_others_are(world: SmallWorld, unit: str) -> None:
    _, expected = prepared(world, config(slots=TIMED))
    names, changes = ("ts", "conversion_ts", "recent_ts"), {}
    factor = {"ms": 1_000, "us": 1_000_000}.get(unit, 1)
    for name in names:
        column = pa.array(world.columns[name])
        if name == "recent_ts":
            values = converted(column.flatten(), unit, factor)
            changes[name] = pa.ListArray.from_arrays(column.offsets, values)
        else:
            changes[name] = converted(column, unit, factor)
    world.write(**changes)
    settings = config(slots=TIMED, time_unit=unit if factor > 1 else "s")
    assert prepared(world, settings)[1].tobytes() == expected.tobytes()


def converted(seconds: pa.Array, unit: str, factor: int) -> pa.Array:
    if factor > 1:
        return pa.array([None if value is None else value * factor for value in seconds.to_pylist()], pa.int64())
    stamps = seconds.cast(pa.int64()).cast(pa.timestamp("s"))
    return stamps if unit == "timestamp" else stamps.cast(pa.string())


def test_an_unknown_time_has_no_age_and_hides_no_other(world: SmallWorld) -> None:
    row = next(row for row, ids in enumerate(world.columns["recent"]) if len(ids) == 3)
    shown = int(world.columns["ts"][row])
    world.write(recent_ts=changed(world, row, [shown - 60, None, shown - 180]))
    _, records = prepared(world, config(slots=TIMED))
    assert records["ages"][row].tolist() == [2, 0, 3, 0, 0]
    pins = [list(ids) for ids in world.columns["recent"]]
    pins[row][0] = None
    world.write(recent=pins, recent_ts=changed(world, row, [shown - 60, None, shown - 180]))
    _, records = prepared(world, config(slots={**TIMED}, bootstrap=21))
    assert records["ages"][row].tolist() == [0, 0, 3, 0, 0], "an event that is not there has no age either"


WRONG: dict[str, tuple[Callable[[int], list[int | None] | None], str]] = {
    "after": (lambda t: [t - 5, t + 1, t - 9], "recent_ts has a time after the impression's"),
    "another unit": (lambda t: [t // 1000] * 3, "recent_ts has a time before 1990"),
    "oldest first": (lambda t: [t - 9, t - 8, t - 7], "recent_ts is not latest first"),
    "oldest first, one unknown": (lambda t: [t - 9, None, t - 7], "recent_ts is not latest first"),
}


@pytest.mark.parametrize("case", WRONG)
def test_times_that_cannot_be_are_refused_or_dropped(world: SmallWorld, case: str) -> None:
    times, reason = WRONG[case]
    row = next(row for row, ids in enumerate(world.columns["recent"]) if len(ids) == 3)
    world.write(recent_ts=changed(world, row, times(int(world.columns["ts"][row]))))
    with pytest.raises(DataError, match=rf"part-0.parquet: row {row}: {reason} \(ranker.slots.recent.times\)"):
        prepared(world, config(slots=TIMED))
    summary, records = prepared(world, config(slots=TIMED, on_bad_rows="drop"))
    assert summary.mended == {f"rows dropped, as {reason}": 1}
    world.write()
    _, whole = prepared(world, config(slots=TIMED))
    for name in ("click", "hashes", "ages"):
        np.testing.assert_array_equal(records[name], np.delete(whole[name], row, axis=0))


@pytest.mark.parametrize("policy", ["refuse", "drop"])
@pytest.mark.parametrize(("times", "count"), [([], 0), (None, 0), ([1_767_000_000], 1)])
def test_lists_of_different_lengths_are_refused(
    world: SmallWorld, policy: str, times: list[int | None] | None, count: int
) -> None:
    row = next(row for row, ids in enumerate(world.columns["recent"]) if len(ids) == 3)
    world.write(recent_ts=changed(world, row, times))
    message = rf"row {row}: recent_ts has {count} times for the 3 ids of recent, expected as many \(ranker.slots.recent"
    with pytest.raises(DataError, match=message):
        prepared(world, config(slots=TIMED, on_bad_rows=policy))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (None, r"no column 'recent_ts' \(ranker.slots.recent.times\)"),
        ([1] * 3000, r"column recent_ts is int64, expected lists"),
        ([["soon"]] * 3000, r"column recent_ts is list<.*expected ISO dates or times"),
    ],
)
def test_columns_that_hold_no_lists_of_times_are_refused(world: SmallWorld, column: Any, message: str) -> None:
    world.write(recent_ts=column, recent=[["p1"]] * 3000)
    with pytest.raises(DataError, match=message):
        prepared(world, config(slots=TIMED))


def test_only_lists_have_times() -> None:
    slots = {**SLOTS, "pin_id": {"type": "pin", "side": "ad", "times": "recent_ts"}}
    values = {"impressions": "log", "slots": slots, "numerics": {"age": "log"}, "labels": {"click": "click"}}
    (problem,) = RankerConfig(**values).problems()
    assert problem.path == ("slots", "pin_id", "times") and "no meaning without `cap`" in problem.message


def test_a_file_without_a_list_has_no_times_either(world: SmallWorld) -> None:
    world.write(recent=pa.nulls(3000), recent_ts=pa.nulls(3000))
    _, records = prepared(world, config(slots=TIMED, numerics={"age": "log"}, segments={}))
    assert (records["ages"] == 0).all()


def test_windows_are_maxima_and_means_of_the_latest() -> None:
    values = torch.tensor([[[0.5, -0.2, 0.3, 0.9]], [[0.5, -0.2, -0.3, -0.9]], [[0.1, 0.2, 0.3, 0.4]]])
    present = torch.tensor([[True, True, True, True], [False, True, True, True], [False] * 4])
    expected = [[0.5, 0.5, 0.5, 0.2, 0.9, 0.375], [0, 0, -0.2, -0.25, -0.2, -1.4 / 3], [0] * 6]
    assert WINDOWS == 6 and torch.allclose(windows(values, present), torch.tensor(expected))


def test_ages_of_the_latest_and_the_third_event_run_from_the_youngest_bucket_to_none() -> None:
    found = event_ages(torch.tensor([[1, 5, 9], [0, 11, 20], [20, 20, 20], [0, 0, 0]]))
    assert found.shape == (4, 2 * (1 + STAIRS))
    assert torch.allclose(found[:, :2], torch.tensor([[2.0, 0.4], [0.0, -1.8], [-1.8, -1.8], [-2.0, -2.0]]))
    latest, third = found[:, 2:].unflatten(1, (2, STAIRS)).unbind(1)
    assert torch.allclose(latest.sum(dim=1) / STAIRS, torch.tensor([0.0, 0.5, 0.95, 1.0]))
    assert torch.allclose(third.sum(dim=1) / STAIRS, torch.tensor([0.4, 0.95, 0.95, 1.0]))
    assert (found[:, 2:].diff(dim=1)[:, : STAIRS - 1] <= 0).all()  # a step is climbed before the next one
    assert torch.allclose(event_ages(torch.tensor([[3]]))[0, :2], torch.tensor([1.6, -2.0]))  # a list of one place


def test_facts_say_where_a_list_names_the_ad(world: SmallWorld) -> None:
    settings = config(slots=TIMED)
    _, records = prepared(world, settings)
    facts, batch = ListFacts(Layout.of(settings)), Batch.of(records[:500], 0)
    ages = len(LAST) * (1 + STAIRS)
    assert facts.width == ages + WINDOWS + 1
    found = np.delete(facts(batch).numpy(), np.s_[1:ages], axis=1)
    found[:, 1:] /= SPREAD
    rows = zip(found, world.columns["recent"], world.columns["pin_id"], strict=False)
    named = 0
    for (age, last, _, of_3, _, of_all, share, near), ids, ad in rows:
        assert age == pytest.approx(2 - 4 * 3 / AGE_BUCKETS if ids else -2)
        assert (last, of_3, of_all) == (ad in ids[:1], ad in ids[:3], ad in ids)
        assert share == pytest.approx(ids.count(ad) / max(len(ids), 1))
        assert near == pytest.approx(1 / (1 + ids.index(ad)) if ad in ids else 0)
        named += ad in ids
    assert named > 5


def test_attributes_of_a_list_are_counted_by_age() -> None:
    """Two of the last quarter of an hour, one of an hour ago, one of unknown age; then a list of others."""
    topics = {"type": "topic", "side": "user", "cap": CAP, "times": "recent_ts", "of": "recent", "via": "pin_topic"}
    settings = config(slots={**TIMED, "topics": topics, "topic_id": {"type": "topic", "side": "ad"}})
    layout = Layout.of(settings)
    facts, (listed, asked) = ListFacts(layout), (layout.slot("topics"), layout.slot("topic_id"))
    hashes, ages = torch.zeros(2, layout.width, dtype=torch.int64), torch.zeros(2, layout.ages, dtype=torch.int64)
    hashes[0, listed.tokens] = torch.tensor([7, 7, 8, 7, 7])
    hashes[1, listed.tokens] = torch.tensor([8, 9, 9, 0, 0])
    hashes[:, asked.tokens] = 7
    ages[0, listed.ages], ages[1, listed.ages] = torch.tensor([1, 4, 4, 6, 0]), torch.tensor([1, 4, 4, 0, 0])
    none, rows = torch.zeros(2), torch.full((2, layout.width), -1)
    found = facts(Batch(none, none, torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.int64), hashes, rows, ages))
    assert found.shape == (2, facts.width) and facts.attributes == [(listed, asked)]  # not of the pins themselves
    counts, any_of_them = found[:, -2 * len(LATELY) :].unflatten(1, (2, -1)).unbind(1)
    assert torch.allclose((counts[0] / COUNT_SCALE).expm1(), torch.tensor([2.0] + [3.0] * (len(LATELY) - 1)))
    assert (any_of_them[0] == SPREAD).all() and not counts[1].any() and not any_of_them[1].any()


ROWS, LENGTH = 512, 6


def unexplained(cosines: Tensor, known: Tensor, ages: Tensor | None, wanted: Tensor, frozen: set[str]) -> float:
    """The share of the variance of `wanted` (B,) that units of listed events do not learn, some parameters frozen."""
    torch.manual_seed(0)
    matches, line = ListMatches(1, LENGTH, ages is not None), nn.Linear(UNITS, 1)
    for name, parameter in matches.named_parameters():
        parameter.requires_grad_(name not in frozen)
    optimizer = torch.optim.Adam([*matches.parameters(), *line.parameters()], lr=0.02)
    error = torch.ones(())
    for _ in range(200):
        answer = line(matches(cosines, known, ages)).squeeze(1)
        error = (answer - wanted).square().mean() / wanted.var()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    return error.item()


@pytest.mark.parametrize("place", [0, 3])
def test_units_learn_a_place(place: int) -> None:
    """How like the ad the event at one place is: a set function cannot tell which it was."""
    cosines = torch.rand(ROWS, 1, LENGTH, generator=torch.Generator().manual_seed(2))
    known, wanted = torch.ones(ROWS, LENGTH, dtype=torch.bool), cosines[:, 0, place]
    assert unexplained(cosines, known, None, wanted, set()) < 0.15
    assert unexplained(cosines, known, None, wanted, {"places"}) > 0.6


def test_units_count_what_is_alike_and_recent() -> None:
    """How many events of the last hours were like the ad: likeness alone does not tell."""
    generator = torch.Generator().manual_seed(2)
    cosines = torch.rand(ROWS, 1, LENGTH, generator=generator)
    ages = torch.randint(1, AGE_BUCKETS, (ROWS, LENGTH), generator=generator)
    known = torch.rand(ROWS, LENGTH, generator=generator) > 0.2
    wanted = ((cosines[:, 0] > 0.6) & (ages < 9) & known).sum(dim=1).float()
    assert unexplained(cosines, known, ages, wanted, set()) < 0.25
    assert unexplained(cosines, known, ages, wanted, {"ages"}) > 0.5


def test_what_a_list_does_not_hold_counts_for_nothing() -> None:
    torch.manual_seed(0)
    matches, known = ListMatches(2, 3, True), torch.tensor([[True, True, False], [False, False, False]])
    cosines, ages = torch.rand(2, 2, 3), torch.randint(0, AGE_BUCKETS + 1, (2, 3))
    other = torch.where(known.unsqueeze(1), cosines, torch.rand(2, 2, 3))
    assert torch.equal(matches(cosines, known, ages), matches(other, known, torch.where(known, ages, 0)))
    assert (matches(cosines, known, ages)[1] == 0).all()


def test_every_number_of_a_list_gets_a_gradient(world: SmallWorld) -> None:
    settings = config(slots=TIMED)
    summary, records = prepared(world, settings)
    model = RankerModel(settings, ARMS["attention"], summary, Embeddings(world.export))
    model.trained(Batch.of(records[:500], 0))[0]["ctr"].sum().backward()
    learned = {name: p for name, p in model.named_parameters() if "list_matches" in name}
    assert len(learned) == 4
    for name, parameter in learned.items():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


TASTES, PINS, EVENTS = 2, 40, 4


def shopping_world(root: Path, clicked: Callable[..., Any]) -> SmallWorld:
    """Lists with two pins of each of two tastes, in random order: as sets they all say the same.

    `clicked` says from the taste of the ad, those of the listed pins (N, EVENTS), and whether the latest event is fresh
    (a minute old, not three days) who clicks.
    """
    world, rng, rows = small_world(root, rows=9000), np.random.default_rng(3), 9000
    taste = np.arange(PINS) % TASTES
    tastes = rng.permuted(np.tile([0, 0, 1, 1], (rows, 1)), axis=1)
    listed = tastes + TASTES * rng.integers(0, PINS // TASTES, (rows, EVENTS))
    ad, fresh, ts = rng.integers(0, PINS, rows), rng.random(rows) < 0.5, np.asarray(world.columns["ts"])
    click = rng.random(rows) < np.where(clicked(taste[ad], tastes, fresh), 0.8, 0.1)
    age = np.where(fresh, 60, 3 * DAY)[:, None] * 2 ** np.arange(EVENTS)
    columns = {
        "pin_id": [f"p{p}" for p in ad],
        "recent": [[f"p{p}" for p in pins] for pins in listed],
        "recent_ts": (ts[:, None] - age).tolist(),
        "click": click.astype(np.int8),
    }
    centres, noise = unit(rng.normal(size=(TASTES, DIMENSION))), rng.normal(size=(PINS, DIMENSION))
    write_export(world.export, {"user": rng.normal(size=(400, DIMENSION)), "pin": centres[taste] + 0.1 * noise})
    world.write(**columns)
    return world


def auc_on_test(world: SmallWorld, timed: bool, arm: str = "attention_no_id") -> float:
    settings = config(
        slots=TIMED if timed else SLOTS,
        labels={"click": "click"},
        training={"batch_size": 128, "lr": 0.01, "epochs": 3},
        segments={},
    )
    summary, _ = prepared(world, settings)
    train, test = (Split.of(world.root / "prepared", name, summary) for name in ("train", "test"))
    torch.manual_seed(0)
    model = RankerModel(settings, ARMS[arm], summary, Embeddings(world.export))
    directory = world.root / f"{arm}-{timed}"
    directory.mkdir(exist_ok=True)
    Training(model, settings, 0, 0, directory).run(train, test, lambda done, last: None)
    return float(roc_auc_score(test.read(0, len(test))["click"], predict(model, test, 0)["ctr"]))


def as_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places and ages stay worth nothing."""
    monkeypatch.setattr("ranker.model.attention.list_matches.BIAS_SPEED", 0.0)


def test_where_only_the_last_item_matters_a_set_function_stays_at_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = shopping_world(tmp_path, lambda ad, listed, fresh: ad == listed[:, 0])
    assert auc_on_test(world, timed=False) > 0.8
    as_sets(monkeypatch)
    assert abs(auc_on_test(world, timed=False) - 0.5) < 0.05


def test_where_age_turns_the_last_item_around_only_times_tell(tmp_path: Path) -> None:
    """Who looked at one a minute ago wants it; who did three days ago has it."""
    world = shopping_world(tmp_path, lambda ad, listed, fresh: (ad == listed[:, 0]) == fresh)
    assert auc_on_test(world, timed=True) > 0.8
    assert abs(auc_on_test(world, timed=False) - 0.5) < 0.05
