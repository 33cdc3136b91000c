"""The demo world: reproducible, plausible, and with a truth that its labels obey."""

import contextlib
import hashlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from sklearn.metrics import roc_auc_score

from demo_world import DemoDataError, WorldParameters, generate
from demo_world.events.eventlog import EventLog
from demo_world.events.history import recent_lists
from pipeline.cli import main

PARAMETERS = WorldParameters(users=2_000, impressions=100_000, seed=7)  # several blocks
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo") / "world"
    generate(directory, PARAMETERS, processes=1)
    return directory


@pytest.fixture(scope="module")
def report(world: Path) -> dict:
    return json.loads((world / "world.json").read_text())


@pytest.fixture(scope="module")
def impressions(world: Path) -> pd.DataFrame:
    return read(world / "impressions")


@pytest.fixture(scope="module")
def truth(world: Path) -> pd.DataFrame:
    parts = sorted((world / "truth").glob("impressions-part-*.parquet"))
    return pd.concat([read(part) for part in parts], ignore_index=True)


def read(path: Path) -> pd.DataFrame:
    return ds.dataset(path).to_table().to_pandas()


def digests(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def numbers(ids: pd.Series) -> np.ndarray:
    """The indices that ids such as u12 stand for."""
    return ids.str[1:].astype(np.int64).to_numpy()


def test_same_seed_same_bytes_with_any_number_of_processes(world: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", PARAMETERS, processes=2)
    assert len(list(world.glob("engagements/part-*.parquet"))) > 1
    assert digests(tmp_path / "again") == digests(world)


def test_another_seed_another_world(world: Path, tmp_path: Path) -> None:
    generate(tmp_path / "other", replace(PARAMETERS, seed=8), processes=1)
    here, there = digests(world), digests(tmp_path / "other")
    assert all(there[name] != digest for name, digest in here.items() if name in there)


def test_rerun_leaves_the_world_alone(world: Path, report: dict) -> None:
    before = {path: path.stat().st_mtime_ns for path in world.rglob("*")}
    assert generate(world, PARAMETERS) == report
    assert {path: path.stat().st_mtime_ns for path in world.rglob("*")} == before


def test_other_contents_are_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(DemoDataError, match="expected .*'seed': 9"):
        generate(world, replace(PARAMETERS, seed=9))
    with pytest.raises(DemoDataError, match="not a demo world"):
        generate(tmp_path, PARAMETERS)


def test_an_interrupted_attempt_is_not_a_world(tmp_path: Path) -> None:
    small = WorldParameters(users=100, impressions=1_000)

    def fail(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "world", small, fail, processes=1)
    assert not (tmp_path / "world").exists()
    generate(tmp_path / "world", small, processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


def test_parameters_report_all_errors_at_once() -> None:
    with pytest.raises(DemoDataError) as caught:
        WorldParameters(users=1, days=0)
    assert [line.split(":")[0] for line in caught.value.lines] == ["users", "days"]


def test_importing_the_package_is_light() -> None:
    code = "import sys, demo_world; sys.exit('numpy' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_progress_and_report_count_the_rows(tmp_path: Path) -> None:
    rows: list[int] = []
    report = generate(tmp_path / "world", WorldParameters(users=200, impressions=2_000, days=3), rows.append, 1)
    logs = [read(tmp_path / "world" / log) for log in ("engagements", "conversions", "impressions")]
    assert sum(rows) == sum(len(log) for log in logs)
    assert report["ranker"]["impressions"] == len(logs[2]) == 2_000
    assert report["engagements"]["impression"] == (logs[0].action == "impression").sum() == 600
    assert sum(report["conversions"].values()) == len(logs[1])


def test_rates_are_plausible(report: dict, impressions: pd.DataFrame) -> None:
    assert 0.005 < report["ctr"] == impressions.click.mean() < 0.02
    assert 0 < impressions.conversion.sum() < 0.3 * impressions.click.sum()
    shown = report["engagements"]
    assert shown["impression"] > 20 * shown["click"] > 20 * shown["long_click"] > 0
    offsite = report["conversions"]
    assert offsite["page_visit"] > 3 * offsite["add_to_cart"] > 3 * offsite["checkout"] > 0


def test_oracle_is_the_auc_of_the_written_truth(report: dict, impressions: pd.DataFrame, truth: pd.DataFrame) -> None:
    assert (impressions.impression_id == truth.impression_id).all()
    oracle, clicked = report["oracle"], impressions.click == 1
    both = truth.p_click * truth.p_conversion_given_click
    assert oracle["ctr_auc"] == pytest.approx(roc_auc_score(impressions.click, truth.p_click), abs=1e-4)
    assert oracle["ctcvr_auc"] == pytest.approx(roc_auc_score(impressions.conversion, both), abs=1e-4)
    expected = roc_auc_score(impressions.conversion[clicked], truth.p_conversion_given_click[clicked])
    assert oracle["cvr_auc"] == pytest.approx(expected, abs=1e-4)
    assert 0.65 < oracle["ctr_auc"] < 0.85
    assert oracle["cvr_auc"] > 0.6


def test_truth_is_calibrated(impressions: pd.DataFrame, truth: pd.DataFrame) -> None:
    clicked = impressions.click == 1
    assert truth.p_click.sum() == pytest.approx(clicked.sum(), rel=0.1)
    assert truth.p_conversion_given_click[clicked].sum() == pytest.approx(impressions.conversion.sum(), rel=0.4)
    assert (truth.bid > 0).all()


def test_clicks_follow_latent_affinity(world: Path, impressions: pd.DataFrame) -> None:
    users, pins = (np.load(world / "truth" / f"{kind}_latents.npy") for kind in ("user", "pin"))
    affinity = (users[numbers(impressions.user_id)] * pins[numbers(impressions.pin_id)]).sum(axis=1)
    assert roc_auc_score(impressions.click, affinity) > 0.58


def test_visits_follow_latent_affinity_and_reach_people_who_rarely_come(world: Path) -> None:
    conversions, engagements = read(world / "conversions"), read(world / "engagements")
    users, items = (np.load(world / "truth" / f"{kind}_latents.npy") for kind in ("user", "item"))
    visits = conversions[conversions.event == "page_visit"]
    user, item = numbers(visits.user_id), numbers(visits.item_id)
    shuffled = np.random.default_rng(0).permutation(item)
    assert (users[user] * items[item]).sum(1).mean() > (users[user] * items[shuffled]).sum(1).mean() + 0.2
    onsite = np.bincount(numbers(engagements.user_id), minlength=PARAMETERS.users)
    offsite = np.bincount(user, minlength=PARAMETERS.users)
    rarely = onsite < np.quantile(onsite, 0.25)
    assert offsite[rarely].mean() > offsite[~rarely].mean()
    assert np.median(offsite[rarely]) > 10


def test_offsite_activity_tells_conversion_from_click(world: Path, impressions: pd.DataFrame) -> None:
    conversions = read(world / "conversions")
    carts = np.bincount(numbers(conversions.user_id[conversions.event == "add_to_cart"]), minlength=PARAMETERS.users)
    visits = np.bincount(numbers(conversions.user_id[conversions.event == "page_visit"]), minlength=PARAMETERS.users)
    clicked = impressions[impressions.click == 1]
    rate = ((carts + 1) / (visits + 8))[numbers(clicked.user_id)]
    assert roc_auc_score(clicked.conversion, rate) > 0.52


def test_popularity_is_heavy_tailed_and_the_policy_favours_it(world: Path) -> None:
    engagements = read(world / "engagements")
    shown = engagements[engagements.action == "impression"]
    for column in ("pin_id", "user_id"):
        counts = np.sort(shown[column].value_counts().to_numpy())[::-1]
        assert counts[: len(counts) // 10].sum() > 0.35 * counts.sum()
        assert counts.max() > 10 * np.median(counts)


def test_times_lie_inside_their_windows(world: Path, report: dict, impressions: pd.DataFrame) -> None:
    start, graph_end, end = report["windows"].values()
    for log in ("engagements", "conversions"):
        assert read(world / log).ts.between(start, graph_end, inclusive="left").all()
    assert impressions.ts.between(graph_end, end, inclusive="left").all()
    assert impressions.hour.equals(((impressions.ts // 3600) % 24).astype("int8"))


def test_conversions_need_a_click_and_come_within_a_week(impressions: pd.DataFrame) -> None:
    converted = impressions.conversion == 1
    assert (impressions.click[converted] == 1).all()
    assert (impressions.conversion_ts.notna() == converted).all()
    delay = impressions.conversion_ts[converted] - impressions.ts[converted]
    assert delay.between(1, 7 * 86_400 + 600).all()
    assert delay.quantile(0.8) > 6 * 3600


def test_recent_pins_were_engaged_with_before(world: Path, impressions: pd.DataFrame) -> None:
    """A person's first ranker impression has its whole past in the log; later ones add pins shown before."""
    engagements = read(world / "engagements")
    engaged = engagements[engagements.action.isin(["click", "save"])].sort_values("ts", kind="stable")
    logged = engaged.groupby("user_id").pin_id.agg(list)
    # Reactions to the last impressions may fall over the window's end, where no log has them.
    late = engagements[engagements.ts > engagements.ts.max() - 600].groupby("user_id").pin_id.agg(set)
    exact = []
    for user, rows in impressions.sort_values("ts", kind="stable").groupby("user_id"):
        past = logged.get(user, [])
        exact.append(sorted(rows.recent_pins.iloc[0]) == sorted(past[-20:]))
        known = set(past) | late.get(user, set())
        for pin, recent in zip(rows.pin_id, rows.recent_pins, strict=True):
            assert set(recent) <= known
            known.add(pin)
    assert np.mean(exact) > 0.97
    assert impressions.recent_pins.str.len().max() == 20


def test_recent_lists_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    user, target, time = (rng.integers(0, high, 600).astype(np.int32) for high in (9, 50, 100))
    events = EventLog.of(0, user, target, time.astype(np.int64))
    who, when = rng.integers(0, 10, 80).astype(np.int32), rng.integers(0, 101, 80)
    allowed = rng.random(80) < 0.8
    lists = recent_lists(events, who, when, allowed)
    for row in range(80):
        past = np.flatnonzero((user == who[row]) & (time < when[row]))
        past = past[np.argsort(time[past], kind="stable")][::-1][:20]
        past = past if allowed[row] else past[:0]
        found = slice(lists.offsets[row], lists.offsets[row + 1])
        np.testing.assert_array_equal(lists.targets[found], target[past])
        np.testing.assert_array_equal(lists.times[found], time[past])


def test_every_recent_event_has_its_time(world: Path, impressions: pd.DataFrame) -> None:
    """Latest first, before the impression; an item's is that of a page visit in the log, where that goes so far."""
    for name in ("recent_pins", "recent_items"):
        lists, times = impressions[name], impressions[f"{name}_ts"]
        assert (lists.str.len() == times.str.len()).all() and (lists.str.len() > 1).any()
        assert (np.concatenate(times.tolist()) < np.repeat(impressions.ts, times.str.len())).all()
        assert all((np.diff(ts) <= 0).all() for ts in times)
    visits = read(world / "conversions").query("event == 'page_visit'")
    logged = set(zip(visits.user_id, visits.item_id, visits.ts, strict=True))
    end = WorldParameters().graph_end
    listed = impressions[["user_id", "recent_items", "recent_items_ts"]].explode(["recent_items", "recent_items_ts"])
    listed = listed[listed.recent_items_ts < end]
    assert len(listed) > 1000 and set(listed.itertuples(index=False, name=None)) <= logged


def test_offsite_history_needs_consent(world: Path, impressions: pd.DataFrame) -> None:
    consent = read(world / "consent.parquet").set_index("user_id").opted_in
    assert 0.5 < consent.mean() < 0.9
    allowed = impressions.user_id.map(consent)
    assert (impressions.recent_items[~allowed].str.len() == 0).all()
    assert (impressions.recent_items[allowed].str.len() > 0).mean() > 0.9


def test_logs_name_known_entities_consistently(world: Path, impressions: pd.DataFrame) -> None:
    pins, items = read(world / "pins.parquet"), read(world / "items.parquet")
    conversions = read(world / "conversions")
    assert pins.item_id.isin(items.item_id).all() and impressions.pin_id.isin(pins.pin_id).all()
    joined = impressions.merge(pins, on="pin_id", suffixes=("", "_of_pin"))
    assert (joined.advertiser_id == joined.advertiser_id_of_pin).all()
    assert (conversions.item_id.isna() == (conversions.event == "signup")).all()
    seller = conversions.dropna().merge(items, on="item_id")
    assert (seller.groupby("advertiser_id").merchant_id.nunique() == 1).all()


GENERATE = """
import sys
from pathlib import Path
from demo_world import WorldParameters, generate
if __name__ == "__main__":
    generate(Path(sys.argv[1]), WorldParameters(users=600_000, impressions=18_000_000), processes=2)
"""


def resident_bytes(parent: int) -> int:
    """Proportional set size of a process and its children: shared pages count once."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    lines = [
        line
        for process in [str(parent), *children]
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    ]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_100_million_events_fit_into_2_gigabytes(tmp_path: Path) -> None:
    script = tmp_path / "generate.py"
    script.write_text(GENERATE)
    peak, directory = 0, tmp_path / "world"
    environment = {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, str(script), str(directory)], env=environment)
    while process.poll() is None:
        with contextlib.suppress(OSError):  # a worker ended between two reads
            peak = max(peak, resident_bytes(process.pid))
        time.sleep(0.2)
    assert process.returncode == 0
    report = json.loads((directory / "world.json").read_text())
    rows = [report["engagements"], report["conversions"], {"impressions": report["ranker"]["impressions"]}]
    assert sum(sum(counts.values()) for counts in rows) > 100e6
    assert peak < 2e9


def test_a_world_in_which_nobody_converts_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So it has no curve of conversions, and says so."""
    assert main(["demo-data", str(tmp_path / "w"), "--users", "300", "--impressions", "6000"]) == 0
    assert "none (CVR)" in capsys.readouterr().out
