"""The real data sets as impressions: what is said of an article was known at that moment, and every config runs."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from benchmarks.ranking import complete_journey_impressions, globo_impressions
from benchmarks.ranking.globo_impressions import CONTEXT, FROM_MS, HOUR_MS, NEGATIVES, RECENT, WINDOW, impressions
from pipeline.cli import main
from ranker.__main__ import main as rank_alone

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clicks() -> pd.DataFrame:
    """Two days of clicks around the start of the impressions; a session never clicks an article twice."""
    rng, rows = np.random.default_rng(0), 12_000
    found = pd.DataFrame({"session_idx": rng.integers(0, 900, rows), "article_id": rng.zipf(1.5, rows) % 300})
    found["click_ts_ms"] = np.sort(FROM_MS - 24 * HOUR_MS + rng.integers(0, 48 * HOUR_MS, rows))
    found["user_id"] = found["session_idx"] // 2
    for name in CONTEXT:
        found[name] = rng.integers(0, 3, rows)
    return found.drop_duplicates(["session_idx", "article_id"], ignore_index=True)


def test_globo_impressions_say_only_what_was_known(clicks: pd.DataFrame) -> None:
    rows = impressions(clicks)
    assert (rows["ts"] >= FROM_MS).all() and 1 / (1 + NEGATIVES) <= rows["click"].mean() < 0.6
    for row in rows.sample(60, random_state=0).to_dict("records"):
        (moment,) = np.flatnonzero((clicks["click_ts_ms"] == row["ts"]) & (clicks["user_id"] == row["user_id"]))
        past, clicked = clicks.iloc[:moment], clicks.iloc[moment]["article_id"]
        own = past[past["user_id"] == row["user_id"]].iloc[::-1][:RECENT]
        read = own["article_id"].tolist()
        assert row["recent_articles"].tolist() == read
        assert row["recent_times"].tolist() == own["click_ts_ms"].tolist()
        assert row["article_clicks"] == (past["article_id"] == row["article_id"]).sum()
        assert row["article_clicks_lately"] == (past["article_id"].iloc[-WINDOW:] == row["article_id"]).sum()
        born = clicks[clicks["article_id"] == row["article_id"]]["click_ts_ms"].min()
        assert row["article_age_hours"] == pytest.approx((row["ts"] - born) / HOUR_MS)
        assert row["new_article"] == (born >= FROM_MS)
        assert row["click"] == (row["article_id"] == clicked), "a negative is not what was clicked"
        if not row["click"]:
            assert row["article_id"] not in read and row["article_clicks_lately"] > 0


def test_globo_positives_are_every_click_but_a_sessions_first(clicks: pd.DataFrame) -> None:
    rows = impressions(clicks)
    later = clicks[clicks["session_idx"].duplicated() & (clicks["click_ts_ms"] >= FROM_MS)]
    assert rows["click"].sum() == (later["session_idx"] % globo_impressions.SESSIONS == 0).sum()


def test_complete_journey_from_exposures_to_intervals(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "shared").symlink_to(shared_data.parent)
    target = tmp_path / "root" / "data/complete_journey/impressions.parquet"
    assert complete_journey_impressions.write(shared_data / "complete_journey", target) == 3739
    config = str(REPOSITORY / "configs" / "complete_journey_rank.json")
    quick = [
        "model.epochs=1",
        "model.dimension=8",
        "ranker.training.seeds=[0]",
        "ranker.bootstrap=20",
    ]
    options = ["--root", str(tmp_path / "root"), "--json", *(part for value in quick for part in ("--set", value))]
    for command in (["partition"], ["train"], ["export"], ["rank", "--arms", "none,attention"]):
        assert main([command[0], config, *options, *command[1:]]) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["stages"]["rank"]["metrics"]
    assert {split: counts["rows"] for split, counts in found["rows"].items()} == {
        "train": 1506,
        "valid": 202,
        "test": 2031,
    }
    assert found["rows"]["test"]["known"] < 2031, "campaigns that still ran are not known yet"
    assert found["arms"]["none"]["cvr"]["intervals"]["auc"][0] > 0.5, "the household's past tells"


def test_criteo_is_calibrated_without_ids(shared_data: Path, tmp_path: Path) -> None:
    """On the first eighth of the log."""
    source = shared_data / "criteo_attribution_1pct" / "impressions.parquet"
    duckdb.sql(f"COPY (FROM '{source}' LIMIT 20000) TO '{tmp_path}/cut.parquet' (FORMAT parquet)")
    config = json.loads((REPOSITORY / "benchmarks" / "criteo_rank.json").read_text())
    config["ranker"] |= {"impressions": "cut.parquet", "training": {"batch_size": 256}, "bootstrap": 20}
    (tmp_path / "cut.json").write_text(json.dumps(config))
    assert rank_alone([str(tmp_path / "cut.json"), "--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())["arms"]["none"]["ctr"]
    assert found["auc"] > 0.57 and found["ne"] < 1 and 0.8 < found["calibration"] < 1.2
