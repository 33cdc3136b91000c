"""Who is shown, and what a click costs: an auction by expected revenue, at the price of the second."""

from dataclasses import dataclass

import numpy as np

from demo_world.sampling import Bools, Doubles, Longs


@dataclass(frozen=True)
class Results:
    """All (R,). `winner` is a place among the candidates, 0 where nobody `won`; `price` is per click, 0 there."""

    won: Bools
    winner: Longs
    price: Doubles


def auction(bid: Doubles, rate: Doubles, reserve: float) -> Results:
    """Sells R places to C candidates each, by bids per click and predicted click rates above 0, both (R, C).

    Who bids less than `reserve` takes no part. The highest bid times rate wins, the first among equals, and pays the
    least bid with which it would have won: at least `reserve`, and never more than its own.
    """
    rows = np.arange(len(bid))
    worth = np.where(bid >= reserve, bid * rate, -1.0)
    winner = np.argmax(worth, axis=1)
    won = worth[rows, winner] >= 0
    worth[rows, winner] = -1.0
    second = np.maximum(worth.max(axis=1), 0.0)
    price = np.clip(second / rate[rows, winner], reserve, bid[rows, winner])
    return Results(won, winner * won, price * won)
