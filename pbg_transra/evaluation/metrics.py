"""What ranks say: mean reciprocal rank, hits@k, and AUC, the chance that an answer beats a false candidate.

Sums are exact (fsum), so that the order of the edges on disk does not show in the last digit.
"""

from collections.abc import Mapping
from math import fsum
from typing import Any

import numpy as np

from artifacts.formats.graph import Side
from pbg_transra.evaluation.ranking import Index, Ranks

Sides = Mapping[Side, Ranks]
Metrics = dict[str, Any]


def metrics(ranks: Ranks, ks: tuple[int, ...], hits: str = "hits") -> Metrics:
    """Returns mrr, `hits`@k and auc of T rankings; nothing of an empty set. `auc` is None without a false candidate."""
    if not len(ranks.above):
        return {}
    of_k = {f"{hits}@{k}": float(np.mean(ranks.rank <= k)) for k in ks}
    return {"mrr": fsum(1 / ranks.rank) / len(ranks.rank), **of_k, "auc": auc(ranks)}


def auc(ranks: Ranks) -> float | None:
    """Returns the mean over T rankings of the share of false candidates below the answer, ties counted as half."""
    contested = ranks[ranks.others > 0]
    if not len(contested.above):
        return None
    return fsum(1 - (contested.above + contested.ties / 2) / contested.others) / len(contested.others)


def joined(ranks: list[Ranks]) -> Ranks:
    """Returns several lists of ranks as one."""
    return Ranks(*(np.concatenate([getattr(r, name) for r in ranks]) for name in ("above", "ties", "others")))


def by_side(sides: Sides, index: Index, ks: tuple[int, ...]) -> Metrics:
    """Returns the metrics of the chosen triples: both sides together, and each (`lhs`: the head was to be found)."""
    chosen = {side: ranks[index] for side, ranks in sides.items()}
    each = {side.value: metrics(ranks, ks) for side, ranks in chosen.items()}
    return {"triples": len(chosen[Side.RHS].above), **metrics(joined(list(chosen.values())), ks), **each}
