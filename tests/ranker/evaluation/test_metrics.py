"""Metrics against scikit-learn, streaming against exact, and intervals against what is known of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from ranker.evaluation.bootstrap import METRICS, Bootstrap, interval
from ranker.evaluation.metrics import Ranking, auc, calibration, calibration_deciles, cross_entropy, gauc, summary
from ranker.evaluation.streaming_metrics import StreamingMetrics


def sample(seed: int, rows: int = 3000, users: int = 100, ties: bool = False) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-2, 1, rows)))
    y = (rng.random(rows) < p).astype(np.int8)
    return y, np.round(p, 2 if ties else 9), rng.integers(0, users, rows)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=25, deadline=None)
def test_auc_and_log_loss_are_those_of_scikit_learn(seed: int, ties: bool) -> None:
    y, p, _ = sample(seed, 400, ties=ties)
    weights = np.random.default_rng(seed).integers(0, 4, len(y)).astype(float)
    assert auc(y, p) == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert Ranking(y, p).auc(weights) == pytest.approx(roc_auc_score(y, p, sample_weight=weights), abs=1e-12)
    assert cross_entropy(y, p).mean() == pytest.approx(log_loss(y, np.clip(p, 1e-7, 1 - 1e-7)), abs=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_gauc_is_the_weighted_mean_over_users(ties: bool) -> None:
    y, p, users = sample(1, ties=ties)
    aucs, sizes = [], []
    for user in np.unique(users):
        rows = users == user
        if 0 < y[rows].sum() < rows.sum():
            aucs.append(roc_auc_score(y[rows], p[rows]))
            sizes.append(rows.sum())
    assert gauc(y, p, users) == pytest.approx(np.average(aucs, weights=sizes), abs=1e-12)


def test_normalised_entropy_and_calibration() -> None:
    y, p, users = sample(2)
    found = summary(y, p, users)
    assert found["ne"] == pytest.approx(log_loss(y, p) / log_loss(y, np.full(len(y), y.mean())), abs=1e-12)
    assert calibration(y, p) == pytest.approx(p.sum() / y.sum())
    assert summary(y, np.full(len(y), y.mean()), users)["ne"] == pytest.approx(1)
    deciles = calibration_deciles(y, p)
    assert len(deciles) == 10 and sum(one["rows"] for one in deciles) == len(y)
    assert deciles[0]["predicted"] < deciles[-1]["predicted"]


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_one_class_has_no_auc(rows: int) -> None:
    found = summary(np.zeros(rows, np.int8), np.full(rows, 0.1), np.arange(rows))
    assert found["auc"] is None and found["gauc"] is None and found["ne"] is None and found["calibration"] is None


def test_streaming_equals_exact() -> None:
    y, p, users = sample(3, rows=20_000)
    streaming = StreamingMetrics()
    for part in np.array_split(np.arange(len(y)), 7):
        streaming.add(y[part], np.log(p[part] / (1 - p[part])))
    exact, found = summary(y, p, users), streaming.report()
    assert found["auc"] == pytest.approx(exact["auc"], abs=1e-4)
    assert found["logloss_error"] == pytest.approx(cross_entropy(y, p).std() / len(y) ** 0.5, rel=1e-6)
    for name in ("logloss", "ne", "calibration"):
        assert found[name] == pytest.approx(exact[name], rel=1e-6)


def test_intervals_hold_the_metric_and_shrink_with_users() -> None:
    widths = []
    for users in (100, 1600):
        y, p, of = sample(4, rows=20 * users, users=users)
        found, exact = Bootstrap(of, 100).metrics(y, p, of), summary(y, p, of)
        for name in METRICS:
            low, high = interval(found[name])
            assert low < exact[name] < high, name
        low, high = interval(found["auc"])
        widths.append(high - low)
    assert 2.5 < widths[0] / widths[1] < 6  # 4 = sqrt(16)


def test_resampling_users_is_wider_than_rows_when_users_agree_with_themselves() -> None:
    rng = np.random.default_rng(5)
    users = np.repeat(np.arange(60), 50)
    y = (rng.random(60) < 0.5).astype(np.int8)[users]
    p = rng.random(60)[users] * 0.5 + 0.25
    by_user = Bootstrap(users, 200).aucs(y, p, users)
    by_row = Bootstrap(np.arange(len(y)), 200).aucs(y, p, np.arange(len(y)))
    assert by_user.std() > 4 * by_row.std()


def test_pairing_cancels_what_two_models_share() -> None:
    y, p, users = sample(6)
    better = np.clip(p + 0.02 * (y - p), 1e-6, 1)
    bootstrap = Bootstrap(users, 100)
    one, other = bootstrap.aucs(y, better, users), bootstrap.aucs(y, p, users)
    assert (one - other).std() < 0.3 * one.std()
    assert interval(one - other)[0] > 0
    assert interval(np.full(100, np.nan)) is None
