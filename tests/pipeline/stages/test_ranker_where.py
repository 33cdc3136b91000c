"""`ranker.where` and columns by the commands: bad ones end them before anything is made, another `where` ranks anew."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.cli import main
from tests.partitioning.test_errors import config, log

ROWS = 400
RANKER = {
    "impressions": "impressions.parquet",
    "slots": {"user_id": {"side": "user"}},
    "numerics": {"n": "linear"},
    "labels": {"click": "click"},
    "arms": {"none": {}},
    "bootstrap": 20,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    log().to_parquet(tmp_path / "log.parquet")
    rng = np.random.default_rng(0)
    rows = {"user_id": rng.integers(0, 20, ROWS), "n": rng.normal(size=ROWS), "click": rng.integers(0, 2, ROWS)}
    surfaces = np.where(np.arange(ROWS) % 4 == 0, "search", "feed")
    pd.DataFrame({**rows, "ts": np.arange(ROWS) + 1_767_225_600, "surface": surfaces}).to_parquet(
        tmp_path / "impressions.parquet"
    )
    return tmp_path


def transra(root: Path, *command: str, **ranker: Any) -> int:
    model = {"operator": "transe", "dimension": 4, "epochs": 1, "workers": 1}
    whole = {"graph": config(), "model": model, "ranker": {**RANKER, **ranker}}
    (root / "c.json").write_text(json.dumps(whole))
    return main([*command, str(root / "c.json"), "--root", str(root)])


@pytest.mark.parametrize("command", [["run"], ["run", "--dry-run"], ["config", "check"], ["rank"]])
@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("surfase = 'feed'", "has no column 'surfase', did you mean 'surface'?"),
        ("random() < 0.5", "depends on more than the row"),
        ("surface > 1", "write CAST(surface AS DOUBLE)"),
    ],
)
def test_a_bad_one_ends_a_command_before_it_works(
    root: Path, command: list[str], where: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transra(root, *command, where=where) == 2
    error = capsys.readouterr().err
    assert error.startswith("transra: ranker.where: ") and message in error and error.count("\n") == 1
    assert not list(root.glob("runs/c/2*")), "not even a graph"


@pytest.mark.parametrize("command", [["run"], ["config", "check"]])
@pytest.mark.parametrize(
    ("ranker", "message"),
    [
        ({"numerics": {"m": "linear"}}, "ranker.numerics: no column 'm' in "),
        ({"slots": {"user_id": {"side": "user"}, "at": {"side": "ad"}}}, "ranker.slots: no column 'at' in "),
        ({"labels": {"click": "clicked"}}, "ranker.labels.click: no column 'clicked' in "),
        ({"time_column": "tz"}, "ranker.time_column: no column 'tz' in "),
        ({"categoricals": ["surfaces"]}, "ranker.categoricals: no column 'surfaces' in "),
    ],
)
def test_a_column_that_no_file_has_ends_a_command_before_it_works(
    root: Path, command: list[str], ranker: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transra(root, *command, **ranker) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"transra: {message}") and error.count("\n") == 1
    assert not list(root.glob("runs/c/2*")), "not even a graph"


def test_a_column_that_one_file_lacks_is_no_reason_to_publish_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "days").mkdir()
    rows = pd.read_parquet(root / "impressions.parquet")
    rows[:300].to_parquet(root / "days" / "1.parquet")
    rows[300:].drop(columns="n").to_parquet(root / "days" / "2.parquet")
    assert transra(root, "run", impressions="days/") == 65
    assert "2.parquet: no column 'n' (ranker.numerics)" in capsys.readouterr().err
    assert (root / "runs/c/latest").exists()


def test_a_log_that_is_not_there_yet_is_no_reason_to_publish_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transra(root, "config", "check", where="n > 0", impressions="later.parquet") == 0
    assert "but not checked: ranker.where, whose columns come from the log" in capsys.readouterr().out
    assert transra(root, "run", where="n > 0", impressions="later.parquet") == 65
    assert "later.parquet: no Parquet files (ranker.impressions)" in capsys.readouterr().err
    assert (root / "runs/c/latest").exists()


def test_rows_left_out_are_told_and_another_condition_is_another_ranking(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transra(root, "run", where="surface = 'feed'") == 0
    assert f"{ROWS // 4} rows left out by ranker.where" in capsys.readouterr().out
    assert transra(root, "rank", where="surface = 'feed'") == 0
    assert "rank: up to date" in capsys.readouterr().out
    for where, left_out in (("surface = 'search'", ROWS - ROWS // 4), (None, 0)):
        assert transra(root, "rank", "--json", where=where) == 0
        (line,) = capsys.readouterr().out.splitlines()
        metrics = json.loads(line)["stages"]["rank"]["metrics"]
        assert metrics["rows_left_out"] == left_out
        assert sum(counts["rows"] for counts in metrics["rows"].values()) == ROWS - left_out
    assert transra(root, "rank", where="n > 1e9") == 65
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"transra: ranker.where: {ROWS} of {ROWS} rows left out, and no impression is left"


@pytest.mark.parametrize("command", [["run"], ["config", "check"]])
@pytest.mark.parametrize(("test_from", "code"), [("2026-01-08", 0), ("2026-01-09", 65)])
def test_test_days_of_which_no_conversion_can_be_known_end_a_command_before_it_works(
    root: Path, capsys: pytest.CaptureFixture[str], command: list[str], test_from: str, code: int
) -> None:
    """They did so when the graph was trained."""
    labels = {"conversion": "click", "attribution_days": 7, "observed_until": "2026-01-15"}
    split = {"valid_from": "2026-01-07", "test_from": test_from}
    if code or command[0] == "config":
        assert transra(root, *command, labels=labels, split=split) == code
    if code:
        error = capsys.readouterr().err
        assert error.startswith(
            "transra: ranker.split.test_from: 2026-01-09: of no impression from then on is it known"
        )
        assert not list(root.glob("runs/c/2*")), "not even a graph"
