"""Counts of earlier days: equal to a reference in plain Python, blind to a row's own day, and learned from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError, DataError
from ranker import check_columns
from ranker.config.arms import ARMS
from ranker.config.sections import RankerConfig
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import Split
from ranker.data.tabular.count_log import count_log
from ranker.data.tabular.count_table import CountTable, CountTableWriter
from ranker.data.tabular.counts import PRIOR_ROWS, Counts
from ranker.evaluation.predictions import predict
from ranker.model.ranker_model import RankerModel
from ranker.training.trainer import Training
from tests.worlds.small_impressions import DAY, START, SmallWorld, config, small_world

Row = dict[str, Any]
PAIR = ("user_id", "place")
COUNTS = [["user_id"], ["place"], list(PAIR)]
MEASURES = ("impressions", "clicks", "ctr_lift", "conversions", "cvr_lift")


def counting(counts: list[list[str]] = COUNTS, **changes: Any) -> RankerConfig:
    """A config of counts; its log has nothing but what they need."""
    values: dict[str, Any] = {
        "impressions": "log/*.parquet",
        "slots": {"user_id": {"type": "user", "side": "user"}, "pin_id": {"type": "pin", "side": "ad"}},
        "numerics": {"position": "linear"},
        "labels": {"click": "click", "conversion": "conversion", "attribution_days": 1.5},
        "counts": counts,
        "arms": {"none": {}},
    }
    return RankerConfig(**{**values, **changes})


def reference(rows: list[Row], row: Row, columns: tuple[str, ...], labels: dict[str, Any]) -> list[float | None]:
    """MEASURES of a row, counted one by one; None where they are not known."""
    if any(row[name] is None for name in columns):
        return [None] * len(MEASURES)
    sums = {True: np.zeros(4), False: np.zeros(4)}
    midnight = row["ts"] // DAY * DAY
    window = int((labels.get("attribution_days") or 0) * DAY)
    for other in rows:
        same = all(other[name] == row[name] for name in columns)
        if other["ts"] < midnight:
            seen = np.array([1, other["click"], 0, 0])
            if other["click"] and other["conversion"] is not None and other["ts"] + window <= midnight:
                seen += [0, 0, 1, other["conversion"]]
            sums[True] += seen * same
            sums[False] += seen
    (rows_, clicks, judged, conversions), overall = sums[True], sums[False]

    def lift(positives: float, of: float, all_positives: float, all_of: float) -> float | None:
        if not all_positives:
            return None
        rate = all_positives / all_of
        return float((positives + PRIOR_ROWS * rate) / (of + PRIOR_ROWS) / rate)

    ctr, cvr = lift(clicks, rows_, overall[1], overall[0]), lift(conversions, judged, overall[3], overall[2])
    return [rows_, clicks, ctr, conversions, cvr]


def counted(log: ImpressionLog, directory: Path) -> dict[str, list[float | None]]:
    counts = count_log(log, directory, lambda text, done: None)
    found: dict[str, list[float | None]] = {name: [] for name in log.config.count_features}
    for block in log.blocks():
        joined = counts.joined(block, log.times(block))
        for name, values in found.items():
            values += joined.column(name).to_pylist()
    return found


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "ts": st.integers(START, START + 5 * DAY),
            "user_id": st.sampled_from(["u1", "u2", "u3", None]),
            "place": st.sampled_from([1, 2, None]),
            "click": st.integers(0, 1),
            "conversion": st.sampled_from([0, 1, None]),
        }
    ),
    min_size=1,
    max_size=60,
)


@given(
    rows=ROWS, days=st.sampled_from([None, 1, 1.5, 3]), run=st.sampled_from([1, 7, 1 << 19]), block=st.integers(1, 9)
)
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_a_reference(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], days: float | None, run: int, block: int
) -> None:
    """Also of a log that is in no order, and of runs and blocks of a few rows."""
    labels = {"click": "click", "conversion": "conversion", "attribution_days": days}
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in rows[0]}
    table = pa.table({**columns, "pin_id": ["p"] * len(rows), "position": [1] * len(rows)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ranker.data.tabular.count_log.COLLECTED", run)
        patch.setattr("ranker.data.tabular.count_log.LEAST_RUN", 1)
        patch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", block)
        log = ImpressionLog(counting(labels=labels), Path(), table)
        found = counted(log, tmp_path_factory.mktemp("counts"))
    for by in map(tuple, COUNTS):
        expected = [reference(rows, row, by, labels) for row in rows]
        for index, measure in enumerate(MEASURES):
            got = found[f"{'_x_'.join(by)}_{measure}"]
            assert got == pytest.approx([values[index] for values in expected], nan_ok=False)


@pytest.mark.parametrize("run", [1, 100, 1 << 19])
def test_tables_of_many_runs_are_those_of_one(tmp_path: Path, run: int) -> None:
    """Keys whose hashes are alike at either end, and more partitions than one."""
    rng = np.random.default_rng(0)
    hashes = np.concatenate([rng.integers(0, 1 << 64, 30, np.uint64), np.array([0, 1 << 17, (1 << 64) - 1], np.uint64)])
    hashes, days = rng.choice(hashes, 900), rng.integers(20_000, 20_020, 900)
    sums = rng.integers(0, 5, (900, 4))
    with CountTableWriter(tmp_path / "one", run) as writer:
        for first in range(0, 900, 90):
            part = slice(first, first + 90)
            writer.add(hashes[part], days[part], sums[part])
        table = writer.finish()
    asked_days = rng.integers(19_999, 20_022, 900)
    key = hashes >> np.uint64(17)
    for found, at, day in zip(table.before(hashes, asked_days), key, asked_days, strict=True):
        np.testing.assert_array_equal(found, sums[(key == at) & (days <= day)].sum(axis=0))
    assert {path.name for path in tmp_path.iterdir()} == {"one.keys", "one.sums"}


def test_a_table_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with CountTableWriter(tmp_path / "one", 100) as writer:
        writer.add(np.arange(4, dtype=np.uint64) << np.uint64(40), np.arange(4), np.ones((4, 4), np.int64))
        writer.finish()
    (tmp_path / "one.sums").write_bytes((tmp_path / "one.sums").read_bytes()[:-8])
    for stem in ("one", "none"):
        with pytest.raises(DataError, match="expected a whole table of counts"):
            CountTable(tmp_path / stem)


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    torch.set_num_threads(1)
    return small_world(tmp_path, rows=4000)


def records(world: SmallWorld, settings: RankerConfig, forgotten: Forgotten | None = None) -> dict[str, np.ndarray]:
    log = ImpressionLog(settings, world.root, None, forgotten)
    exports = {"base": Embeddings(world.export)}
    directory = world.root / "prepared"
    summary = prepare(log, Windows.of(log), exports, str(hash(str(settings))), directory, lambda text, done: None)
    assert summary.counted == list(settings.count_features)
    splits = {name: Split.of(directory, name, summary) for name in ("train", "valid", "test")}
    return {name: split.read(0, len(split)) for name, split in splits.items()}


def test_a_column_that_tells_the_label_on_its_own_day_tells_nothing(world: SmallWorld) -> None:
    """The planted leak: a value that only the day's clicks have. Counts that saw the row's own day would hold it."""
    days = np.asarray(world.columns["ts"]) // DAY
    planted = [f"{day}-{click}" for day, click in zip(days, world.columns["click"], strict=True)]
    world.write(planted=planted)
    for rows in records(world, config(counts=[["planted"], ["planted", "device"]])).values():
        counted = rows["numerics"][:, -10:]
        for column in counted.T:
            assert len(np.unique(column[~np.isnan(column)])) <= 1


def test_counts_tell_what_was_clicked_on_earlier_days(world: SmallWorld) -> None:
    """So that the test above could fail: a value that clicks share is known by the next day."""
    world.write(planted=[f"{click}" for click in world.columns["click"]])
    rows = records(world, config(counts=[["planted"]]))["test"]
    lift = rows["numerics"][:, -3]
    assert lift[rows["click"] == 1].min() > lift[rows["click"] == 0].max()


def test_the_order_of_rows_and_files_says_nothing(world: SmallWorld) -> None:
    settings = config(counts=[["user_id"], ["user_id", "pin_id"]])
    expected = {name: np.sort(rows) for name, rows in records(world, settings).items()}
    again = config(counts=settings.counts, bootstrap=21)  # another key, so that it is prepared anew
    order = np.random.default_rng(0).permutation(4000)
    table = pa.table(world.columns)
    pq.write_table(table.take(order), world.root / "log" / "part-0.parquet", row_group_size=501)
    mixed = {name: np.sort(rows) for name, rows in records(world, again).items()}
    names = [name for name in expected["test"].dtype.names or () if name != "numerics"]
    for split, rows in expected.items():
        np.testing.assert_array_equal(mixed[split][names], rows[names])
        for found, wanted in zip(mixed[split]["numerics"].T, rows["numerics"].T, strict=True):
            np.testing.assert_allclose(np.sort(found), np.sort(wanted), rtol=1e-5, atol=1e-5)


def test_forgotten_people_are_not_counted(world: SmallWorld) -> None:
    settings = config(counts=[["pin_id"], ["device"]])
    found = records(world, settings, Forgotten.of({"user": ["u3", "u5"]}))
    kept = [user not in ("u3", "u5") for user in world.columns["user_id"]]
    pq.write_table(pa.table(world.columns).filter(pa.array(kept)), world.root / "log" / "part-0.parquet")
    expected = records(world, config(counts=[["pin_id"], ["device"]], bootstrap=21))
    for split, rows in expected.items():
        np.testing.assert_array_equal(found[split]["numerics"], rows["numerics"])


def test_what_was_counted_before_does_not_stay(world: SmallWorld) -> None:
    records(world, config(counts=[["pin_id"]]))
    assert (world.root / "prepared" / "counts").is_dir()
    records(world, config())
    assert not (world.root / "prepared" / "counts").exists()


def test_counts_are_found_again(world: SmallWorld) -> None:
    """As a scorer does: the state of a day is a question to the tables."""
    settings = config(counts=[["pin_id"]])
    log = ImpressionLog(settings, world.root)
    made = count_log(log, world.root, lambda text, done: None)
    again = Counts.load(settings.counts, settings.labels.counted, world.root)
    assert again.features == settings.count_features
    (block, *_) = log.blocks()
    tomorrow = np.full(len(block.table), int(np.max(world.columns["ts"])) + DAY)
    name = "pin_id_impressions"
    found = again.joined(block, tomorrow).column(name)
    assert found == made.joined(block, tomorrow).column(name)
    pins, totals = np.unique(world.columns["pin_id"], return_counts=True)
    assert found.to_pylist() == [
        dict(zip(pins, totals, strict=True))[pin] for pin in block.column("pin_id").to_pylist()
    ]


WRONG: dict[str, tuple[list[list[str]], str]] = {
    "label": ([["user_id"], ["click"]], "'click' is a label: it is not known when an ad is shown"),
    "conversion time": ([["conversion_ts", "pin_id"]], "'conversion_ts' is a label"),
    "list": ([["recent"]], "'recent' is a list, expected columns of single values"),
    "time": ([["ts"]], "'ts' is the time"),
    "twice": ([["pin_id", "pin_id"]], "'pin_id' is there twice"),
    "again": ([["pin_id"], ["pin_id"]], "there is 'pin_id_clicks' already"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_counted_is_a_config_error(case: str) -> None:
    counts, message = WRONG[case]
    problems = list(RankerConfig(**{**config().model_dump(), "counts": counts}).problems())
    assert [problem.path for problem in problems] == [("counts", len(counts) - 1)]
    assert message in problems[0].message


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            [["pin_id"], ["devise"]],
            r"^ranker.counts\[1\]: no column 'devise' in .*part-0.parquet, did you mean 'device'\?$",
        ),
        (
            [["user_id", "tags"]],
            r"^ranker.counts\[0\]: column 'tags' is list<.*> in .*part-0.parquet, expected single values$",
        ),
        (  # training would not read it, and scoring the same rows would
            [["user_id"], ["pin_id", "device"]],
            r"^ranker.counts\[1\]: .*part-0.parquet has a column 'pin_id_x_device_clicks' already; rename it$",
        ),
    ],
)
def test_columns_of_the_log_that_cannot_be_counted_are_refused_before_work(
    world: SmallWorld, counts: list[list[str]], message: str
) -> None:
    world.write(tags=[["a"]] * 4000, pin_id_x_device_clicks=[5] * 4000)
    settings = config(counts=counts)
    checks: list[Callable[[], Any]] = [
        lambda: check_columns(settings, world.root),
        lambda: ImpressionLog(settings, world.root),
    ]
    for check in checks:
        with pytest.raises(ConfigError, match=message) as found:
            check()
        assert len(found.value.lines) == 1


def test_a_log_that_is_not_there_yet_is_not_checked(tmp_path: Path) -> None:
    (note,) = check_columns(config(counts=[["pin_id"]]), tmp_path)
    assert note.startswith("ranker, whose columns come from the log (")


def auc_of_none(world: SmallWorld, counts: list[list[str]]) -> float:
    """On test, of an arm that sees neither ids nor vectors."""
    settings = config(counts=counts, labels={"click": "click"}, training={"batch_size": 128, "lr": 0.01, "epochs": 2})
    log = ImpressionLog(settings, world.root)
    directory = world.root / f"prepared-{len(counts)}"
    summary = prepare(log, Windows.of(log), {}, "key", directory, lambda text, done: None)
    train, test = (Split.of(directory, name, summary) for name in ("train", "test"))
    torch.manual_seed(0)
    model = RankerModel(settings, ARMS["none"], summary, None)
    Training(model, settings, 0, 0, directory).run(train, test, lambda done, last: None)
    return float(roc_auc_score(test.read(0, len(test))["click"], predict(model, test, 0)["ctr"]))


def test_the_arm_without_vectors_learns_from_counts(tmp_path: Path) -> None:
    """Which campaigns are clicked only their ids tell, and what was counted of them."""
    torch.set_num_threads(1)
    world = small_world(tmp_path)
    assert auc_of_none(world, [["campaign"]]) > auc_of_none(world, []) + 0.05
