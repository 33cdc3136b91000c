"""Next clicks of globo.com's readers as impressions for the ranker, with sampled negatives.

    make real-impressions
    transra run configs/globo_rank.json

There are no impressions in the data. Of a third of the sessions, every click but the first becomes a positive; beside
it stand NEGATIVES articles that others had just clicked (drawn from the last WINDOW clicks, so by popularity), without
those that the reader has clicked already. All that is said of an article is counted up to that moment.
"""

import argparse
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

FROM_MS = 1_507_852_800_000  # 2017-10-13: the graph of configs/globo_rank.json ends before
SESSIONS = 3  # one of so many
NEGATIVES = 4
WINDOW = 5_000  # clicks, about half an hour
RECENT = 10
HOUR_MS = 3_600_000
CONTEXT = ["environment", "device_group", "os", "country", "region", "referrer_type"]

Ints = NDArray[np.int64]


class Articles:
    """How often and since when an article has been clicked at a moment; a moment is a place in the log."""

    def __init__(self, clicks: pd.DataFrame) -> None:
        self._rows = len(clicks)
        self._times = clicks["click_ts_ms"].to_numpy()
        self._keys = np.sort(clicks["article_id"].to_numpy(np.int64) * self._rows + np.arange(self._rows))

    def clicks_before(self, articles: Ints, moments: Ints) -> Ints:
        """(N,) and (N,) -> (N,)."""
        return self._place(articles, moments) - self._place(articles, np.zeros_like(moments))

    def first_times(self, articles: Ints) -> Ints:
        """When each was clicked first, (N,) ms."""
        return self._times[self._keys[self._place(articles, np.zeros_like(articles))] % self._rows]

    def _place(self, articles: Ints, moments: Ints) -> Ints:
        return np.searchsorted(self._keys, articles * self._rows + moments)


def candidates(clicks: pd.DataFrame, seed: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Moments (places of the clicks in the log), articles and whether they were clicked, (N,) each."""
    wanted = (clicks["click_ts_ms"] >= FROM_MS) & (clicks["session_idx"] % SESSIONS == 0) & (clicks["step"] > 0)
    moments = np.flatnonzero(wanted.to_numpy())
    back = np.minimum(moments, WINDOW)[:, None]
    drawn = moments[:, None] - 1 - np.random.default_rng(seed).integers(0, back, (len(moments), NEGATIVES))
    articles = clicks["article_id"].to_numpy(np.int64)
    shown = np.column_stack([articles[moments], articles[drawn]])
    clicked = np.zeros(shown.shape, bool)
    clicked[:, 0] = True
    return np.repeat(moments, 1 + NEGATIVES), shown.ravel(), clicked.ravel()


def histories(clicks: pd.DataFrame, moments: Ints) -> list[list[int]]:
    """Places in the log of what the reader of each of the ascending `moments` clicked before, latest first.

    At most RECENT of them.
    """
    wanted, found = set(moments.tolist()), []
    seen: dict[int, list[int]] = {}
    for moment, user in enumerate(clicks["user_id"]):
        past = seen.setdefault(user, [])
        if moment in wanted:
            found.append(past.copy())
        past.insert(0, moment)
        del past[RECENT:]
    return found


def impressions(clicks: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The rows that the ranker reads, from all clicks in order of time."""
    clicks = clicks.assign(step=clicks.groupby("session_idx").cumcount())
    known, (moments, articles, clicked) = Articles(clicks), candidates(clicks, seed)
    positive = np.flatnonzero(clicked)
    past = [np.array(places, np.int64) for places in histories(clicks, moments[positive])]
    articles_of, times_of = clicks["article_id"].to_numpy(np.int64), clicks["click_ts_ms"].to_numpy(np.int64)
    rows = pd.DataFrame({"article_id": articles, "click": clicked.astype(np.int8)})
    total = known.clicks_before(articles, moments)
    rows["article_clicks"] = total
    rows["article_clicks_lately"] = total - known.clicks_before(articles, np.maximum(moments - WINDOW, 0))
    born = known.first_times(articles)
    rows["new_article"] = (born >= FROM_MS).astype(np.int8)
    rows["article_age_hours"] = (clicks["click_ts_ms"].to_numpy()[moments] - born) / HOUR_MS
    rows["recent_articles"] = [articles_of[past[row // (1 + NEGATIVES)]] for row in range(len(rows))]
    rows["recent_times"] = [times_of[past[row // (1 + NEGATIVES)]] for row in range(len(rows))]
    context = clicks.iloc[moments].reset_index(drop=True)
    rows = rows.join(context[["user_id", "step", *CONTEXT]])
    rows["ts"] = context["click_ts_ms"]
    rows["hour"] = (context["click_ts_ms"] // HOUR_MS) % 24
    again = [article in read for article, read in zip(rows["article_id"], rows["recent_articles"], strict=True)]
    positives = pd.Series(np.repeat(articles[positive], 1 + NEGATIVES))
    return rows[clicked | ~(np.array(again) | (rows["article_id"] == positives)).to_numpy()]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--source", type=Path, default=Path("../shared/data/globo_clicks/clicks.parquet"))
    arguments.add_argument("--target", type=Path, default=Path("data/globo/impressions.parquet"))
    options = arguments.parse_args()
    clicks = duckdb.sql(f"SELECT * FROM '{options.source}' ORDER BY click_ts_ms, session_idx").df()
    rows = impressions(clicks)
    options.target.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(options.target, index=False, row_group_size=1 << 16)
    print(f"{len(rows):,} impressions, {rows['click'].mean():.1%} clicked -> {options.target}")


if __name__ == "__main__":
    main()
