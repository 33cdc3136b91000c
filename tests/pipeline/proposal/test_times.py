"""Which column is the time of a log, in which unit, and where it is split."""

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.worlds.proposals import events, proposed, runs, undecided


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("us", 1_000_000)])
def test_the_unit_of_whole_numbers_is_seen(tmp_path: Path, unit: str, factor: int) -> None:
    log = pd.DataFrame({"ts": [(1_767_225_600 + 3600 * row) * factor for row in range(300)]})
    log["user_id"], log["item_id"] = log.index % 17, log.index % 13
    log.to_parquet(tmp_path / "views.parquet")
    source = proposed(tmp_path, tmp_path / "views.parquet").graph.sources["views"]
    assert (source.time_column, source.time_unit) == ("ts", unit)


@pytest.mark.parametrize("odd", [None, float("nan")])
@pytest.mark.parametrize(("unit", "factor"), [("s", 1.0), ("ms", 1000.0), ("us", 1_000_000.0)])
@pytest.mark.parametrize("kind", ["double", "decimal", "jsonl"])
def test_epochs_with_fractions_are_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], unit: str, factor: float, kind: str, odd: float | None
) -> None:
    """A pixel's clock: as a column of no use, its events were all training, also those of the test days."""
    times = [(1_767_225_600.125 + 3600 * row) * factor for row in range(300)]
    log = pd.DataFrame(
        {"ts": times, "user_id": [row % 17 for row in range(300)], "item_id": [r % 13 for r in range(300)]}
    )
    if odd is not None:
        log.loc[7, "ts"] = odd
    if kind == "decimal":
        log["ts"] = [Decimal(str(one)) if one == one else None for one in log["ts"]]
    if kind == "jsonl":
        log.to_json(tmp_path / "views.jsonl", orient="records", lines=True, double_precision=6)
    else:
        log.to_parquet(tmp_path / "views.parquet")
    config = proposed(tmp_path, tmp_path)
    source = config.graph.sources["views"]
    assert (source.time_column, source.time_unit) == ("ts", unit)
    assert config.graph.split.time is not None
    said = [line for line in undecided(capsys, tmp_path, tmp_path) if "1 rows have no time in ts" in line]
    assert bool(said) == (odd is not None)
    if odd is None:
        runs(tmp_path, "--until", "partition")


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        (
            "ts",
            [row + 0.5 for row in range(60)],
            "ts is named as a time is, and is DOUBLE, such as '0.5'; expected ISO",
        ),
        (
            "ts",
            pd.Series([1_767_225_600.0 + row for row in range(60)], dtype="float32"),
            "ts is named as a time is, and",
        ),
        (
            "eventTime",
            [1_767_225_600_000_000_000 + row for row in range(60)],
            "eventTime is named as a time is, and is B",
        ),
        ("time", ["31.12.2025 10:00"] * 60, "time is named as a time is, and is VARCHAR, such as '31.12.2025 10:00'"),
        ("at", [[row] for row in range(60)], "at is named as a time is, and is nested; expected ISO"),
        ("clock", [1_767_225_600.5 + row for row in range(60)], 'clock may be a time in s (time_unit: "s")'),
        ("price", [row + 0.5 for row in range(60)], None),
    ],
)
def test_what_may_be_the_time_of_a_log_without_one_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, values: Any, said: str | None
) -> None:
    (tmp_path / "logs").mkdir()
    events(200, ["click"]).to_parquet(tmp_path / "logs" / "clicks.parquet")
    log = events(60, ["save"]).drop(columns="time").assign(**{name: values})
    log.to_parquet(tmp_path / "logs" / "saves.parquet")
    found = undecided(capsys, tmp_path, tmp_path / "logs")
    assert "saves: has no time column, so all its events are training" in found
    told = [line for line in found if "time_column is yours to write, else all its events are training" in line]
    assert [line.startswith(f"saves: {said}") for line in told] == ([] if said is None else [True]), found


def test_without_times_edges_are_drawn_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = pd.DataFrame({"user_id": [row % 17 for row in range(300)], "item_id": [row % 13 for row in range(300)]})
    log.to_json(tmp_path / "views.jsonl", orient="records", lines=True)
    config = proposed(tmp_path, tmp_path / "views.jsonl")
    assert config.graph.split.random is not None
    assert any(line.startswith("split: no log has a time column") for line in undecided(capsys, tmp_path, tmp_path))
    runs(tmp_path, "--until", "partition")


@pytest.mark.parametrize(("lives", "said"), [(24, True), (400, False)])
def test_a_log_whose_last_days_are_all_new_gets_a_later_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lives: int, said: bool
) -> None:
    """Articles of so many hours: of a tenth of ten days nothing is known, of the last hours something is."""
    draw = random.Random(0)
    hours = [row // 50 for row in range(12_000)]
    log = pd.DataFrame({"ts": [1_767_225_600 + 3600 * hour for hour in hours]})
    log["user_id"] = [draw.randrange(50) for _ in hours]
    log["article_id"] = [max(0, hour - draw.randrange(lives)) for hour in hours]
    log.to_parquet(tmp_path / "views.parquet")
    time = proposed(tmp_path, tmp_path / "views.parquet").graph.split.time
    assert time is not None
    found = [line for line in undecided(capsys, tmp_path, tmp_path / "views.parquet") if line.startswith("split:")]
    if said:
        assert len(found) == 1 and "100% in article_id), of which nothing is known, so the test is the last" in found[0]
        assert (str(time.valid_from), str(time.test_from)) == ("2026-01-10T13:00", "2026-01-10T18:00")
    else:
        assert found == [] and str(time.valid_from) == "2026-01-08"


def test_of_a_log_whose_people_never_come_back_no_split_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, and the split is that of any log."""
    log = pd.DataFrame({"ts": [1_767_225_600 + 300 * row for row in range(3000)]})
    log["user_id"], log["item_id"] = [row // 3 for row in range(3000)], [row % 13 for row in range(3000)]
    log.to_parquet(tmp_path / "views.parquet")
    (line,) = [one for one in undecided(capsys, tmp_path, tmp_path / "views.parquet") if one.startswith("split:")]
    assert "100% have an id that none before validation has (100% in user_id)" in line
    assert line.endswith("the evaluation will say little, whatever the split")
    time = proposed(tmp_path, tmp_path / "views.parquet").graph.split.time
    assert time is not None and str(time.valid_from) == "2026-01-09"


def test_times_that_a_sample_does_not_have_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("partitioning.inspection.profile.SAMPLED_ROWS", 50)
    log = events(200, ["view"])
    log["time"] = [str(1_767_225_600 + 3600 * row) if row < 190 else "n/a" for row in range(200)]
    log.to_csv(tmp_path / "log.csv", index=False)
    assert "log: 10 rows have no time in time that can be read, and will be refused" in undecided(
        capsys, tmp_path, tmp_path
    )
