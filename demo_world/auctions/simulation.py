"""What rankings bring in the same auctions, per person, and how far they differ, with intervals. A simulation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from demo_world.auctions.auction import auction
from demo_world.auctions.requests import Requests
from demo_world.sampling import Doubles, seeded

MEASURES = (
    *("shown", "clicks", "conversions", "paid"),  # as drawn
    *("true_clicks", "true_conversions", "true_paid"),  # the same expected, by the true rates
    "value",  # bids of what was shown times its true click rates: what the oracle has most of
)
ORACLE = "oracle"
LEVEL = 0.95
BY = {"draws": ("clicks", "conversions", "paid"), "true_rates": ("true_clicks", "true_conversions", "true_paid")}
CHANGES = {"ctr": "ctr_lift", "cpc": "cpc_change", "conversions_per_thousand": "conversions_per_thousand_change"}
BRANCH = 5  # of the seed, beside those of the world


class Simulation:
    """Adds up what each ranking brings of every person. One more ranking, the oracle, knows the true click rates."""

    def __init__(self, users: int, reserve: float) -> None:
        self._totals: dict[str, Doubles] = {}  # (U, M) by ranking
        self._users, self._reserve, self.requests = users, reserve, 0
        self._asked = np.zeros(users, dtype=np.int64)

    def add(self, requests: Requests, rates: Mapping[str, Sequence[Doubles]]) -> None:
        """Holds the auctions of R requests by the predicted click rates (R, C) of every ranking.

        Of a ranking with several predictions (of models that differ in their seeds), the mean over auctions counts.
        """
        for name, predictions in {**rates, ORACLE: [requests.p_click]}.items():
            found = np.mean([outcomes(requests, one, self._reserve) for one in predictions], axis=0)
            totals = self._totals.setdefault(name, np.zeros((self._users, len(MEASURES))))
            np.add.at(totals, requests.user, found)
        np.add.at(self._asked, requests.user, 1)
        self.requests += len(requests.user)

    def report(self, baselines: Sequence[str], resamples: int, seed: int) -> dict[str, Any]:
        """Every ranking by itself and against each of `baselines`; intervals are over people who made a request."""
        asking = np.flatnonzero(self._asked)
        totals = np.stack([one[asking] for one in self._totals.values()], axis=1)
        weights = _weights(len(asking), resamples, seed)
        found = Sums(list(self._totals), np.stack([np.tensordot(one, totals, 1) for one in weights]))
        return {"users": len(asking), "arms": {name: found.of(name, baselines) for name in found.names}}


@dataclass(frozen=True)
class Sums:
    """`values` (1 + S, A, M) are sums over all people, then over those of every resample, by ranking and measure."""

    names: list[str]
    values: Doubles

    def of(self, name: str, baselines: Sequence[str]) -> dict[str, Any]:
        """What is reported of a ranking: rates, prices, and how far they are from others', each with its interval."""
        found: dict[str, Any] = {by: {m: with_interval(self.metric(name, m, by)) for m in CHANGES} for by in BY}
        found["regret"] = with_interval(1 - _ratio(self.measure(name, "value"), self.measure(ORACLE, "value")))
        found["against"] = {base: self.against(name, base) for base in baselines if base != name}
        return found

    def against(self, name: str, base: str) -> dict[str, Any]:
        """Relative differences, paired in every resample."""
        return {
            by: {
                change: with_interval(_ratio(self.metric(name, m, by), self.metric(base, m, by)) - 1)
                for m, change in CHANGES.items()
            }
            for by in BY
        }

    def measure(self, name: str, measure: str) -> Doubles:
        """(1 + S,)"""
        return np.asarray(self.values[:, self.names.index(name), MEASURES.index(measure)])

    def metric(self, name: str, metric: str, by: str) -> Doubles:
        """(1 + S,); NaN where it is not defined."""
        clicks, conversions, paid = (self.measure(name, measure) for measure in BY[by])
        shown = self.measure(name, "shown")
        if metric == "ctr":
            return _ratio(clicks, shown)
        return _ratio(paid, clicks) if metric == "cpc" else _ratio(1000 * conversions, shown)


def with_interval(values: Doubles) -> dict[str, Any]:
    """A value and its interval over resamples, from (1 + S,); None where fewer than half of them are defined."""
    value, samples = values[0], values[1:][np.isfinite(values[1:])]
    interval = None
    if 2 * len(samples) >= len(values) - 1:
        interval = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return {"value": float(value) if np.isfinite(value) else None, "interval": interval}


def _ratio(above: Doubles, below: Doubles) -> Doubles:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)


def outcomes(requests: Requests, rate: Doubles, reserve: float) -> Doubles:
    """What the auctions of R requests by predicted click rates (R, C) bring: (R, M), in the order of MEASURES."""
    result, rows = auction(requests.bid, rate, reserve), np.arange(len(rate))
    p_click, p_conversion, bid = (
        values[rows, result.winner] * result.won for values in (requests.p_click, requests.p_conversion, requests.bid)
    )
    clicks = requests.click_draw < p_click
    conversions = clicks & (requests.conversion_draw < p_conversion)
    drawn = (result.won, clicks, conversions, clicks * result.price)
    return np.stack([*drawn, p_click, p_click * p_conversion, p_click * result.price, p_click * bid], axis=1)


def _weights(users: int, resamples: int, seed: int) -> Iterator[Doubles]:
    """How often each of the people (U,) counts: once, and then as often as it is drawn with replacement."""
    rng = seeded(seed, BRANCH)
    yield np.ones(users)
    for _ in range(resamples):
        yield np.bincount(rng.integers(0, users, users), minlength=users).astype(np.float64)
