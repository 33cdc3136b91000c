"""The pairs of users and items that every method of bench_retrieval reads, written once for each graph and phase.

`choose`: train on `train.parquet`, look for `held_out.parquet`, which is validation. `final`: the same with validation
among the training pairs and the test pairs held out. `side.parquet`: pairs that are learnt from but may be asked for
(Tmall's saves and carts).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
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


GRAPHS = {"amazon_grocery": amazon_grocery, "multibehavior_tmall": multibehavior_tmall}


def write_pairs(graph: str, directory: Path) -> None:
    """Writes <directory>/<phase>/{train,side,held_out}.parquet."""
    for phase, pairs in GRAPHS[graph]():
        (directory / phase).mkdir(parents=True, exist_ok=True)
        for name, frame in pairs._asdict().items():
            frame.to_parquet(directory / phase / f"{name}.parquet", index=False)
