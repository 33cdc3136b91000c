"""The pairs of users and items that every method of bench_retrieval reads, written once for each graph and phase.

`choose`: train on `train.parquet`, look for `held_out.parquet`, which is validation. `final`: the same with validation
among the training pairs and the test pairs held out. `side.parquet`: pairs that are learnt from but may be asked for
(Tmall's saves and carts).
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.environment import REPOSITORY

SHARED = REPOSITORY.parent / "shared" / "data"
COLUMNS = ["user_id", "item_id"]
GROCERY_CHOOSE, GROCERY_FINAL = 1386115200, 1390780800  # 85 and 90 % of the purchases lie before


class Pairs(NamedTuple):
    """One phase: pairs that are trained on and left out of lists, pairs that are only trained on, pairs to be found."""

    train: pd.DataFrame
    side: pd.DataFrame
    held_out: pd.DataFrame


def amazon_grocery() -> Iterator[tuple[str, Pairs]]:
    log = pd.read_parquet(SHARED / "amazon_grocery/user_item_train.parquet")
    nothing = log[COLUMNS].iloc[:0]
    for phase, begin, end in (("choose", GROCERY_CHOOSE, GROCERY_FINAL), ("final", GROCERY_FINAL, np.inf)):
        held_out = log[(log.ts >= begin) & (log.ts < end)]
        yield phase, Pairs(log.loc[log.ts < begin, COLUMNS], nothing, held_out[COLUMNS])


def multibehavior_tmall() -> Iterator[tuple[str, Pairs]]:
    def read(name: str) -> pd.DataFrame:
        return pd.read_parquet(SHARED / f"multibehavior_tmall/{name}.parquet")[COLUMNS]

    train, valid = read("checkout_train"), read("checkout_valid")
    side = pd.concat([read("save"), read("add_to_cart")])
    without = train[~pd.MultiIndex.from_frame(train).isin(pd.MultiIndex.from_frame(valid))]
    yield "choose", Pairs(without, side, valid)
    yield "final", Pairs(train, side, read("checkout_test"))


def complete_journey() -> Iterator[tuple[str, Pairs]]:
    log = pd.read_parquet(SHARED / "complete_journey/transactions_sample.parquet")
    log = log.rename(columns={"household_id": "user_id", "product_id": "item_id"})
    yield from split_by_time(log, log.ts, ["2017-11-01", "2017-12-01", "2018-01-02"], "s", begin=None)


def globo() -> Iterator[tuple[str, Pairs]]:
    """News lives for hours: clicks of two hours, given those of the two days before."""
    log = pd.read_parquet(SHARED / "globo_clicks/clicks.parquet", columns=["user_id", "article_id", "click_ts_ms"])
    log = log.rename(columns={"article_id": "item_id"})
    hours = ["2017-10-16 12:00", "2017-10-16 14:00", "2017-10-16 16:00"]
    yield from split_by_time(log, log.click_ts_ms, hours, "ms", begin="2D")


def split_by_time(
    log: pd.DataFrame, times: pd.Series, instants: list[str], unit: str, begin: str | None
) -> Iterator[tuple[str, Pairs]]:
    """Both phases: validation lies between the first two instants, test between the last two. `begin`: how long before
    them training begins; None: with the log."""
    moments, log = pd.to_datetime(times, unit=unit), dense(log)
    for phase, (first, last) in zip(("choose", "final"), pairwise(map(pd.Timestamp, instants)), strict=True):
        train = moments < first
        if begin is not None:
            train &= moments >= first - pd.Timedelta(begin)
        held_out = log[(moments >= first) & (moments < last)]
        yield phase, Pairs(log[train].drop_duplicates(), log.iloc[:0], held_out.drop_duplicates())


def dense(log: pd.DataFrame) -> pd.DataFrame:
    """Ids as whole numbers from 0, in order: the peers' matrices have a row for each number."""
    return pd.DataFrame({column: pd.factorize(log[column], sort=True)[0] for column in COLUMNS}, log.index)


GRAPHS = {
    "amazon_grocery": amazon_grocery,
    "multibehavior_tmall": multibehavior_tmall,
    "complete_journey": complete_journey,
    "globo": globo,
}


def write_pairs(graph: str, directory: Path) -> None:
    """Writes <directory>/<phase>/{train,side,held_out}.parquet."""
    for phase, pairs in GRAPHS[graph]():
        (directory / phase).mkdir(parents=True, exist_ok=True)
        for name, frame in pairs._asdict().items():
            frame.to_parquet(directory / phase / f"{name}.parquet", index=False)
