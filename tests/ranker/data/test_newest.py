"""The newest impressions of a user and of an ad: bad rows are none, as in training."""

from typing import Any

import pyarrow as pa
import pytest

from ranker.data.log.newest import newest
from ranker.data.log.parts import FramePart

USERS, ADS = ["u", "u", "v", "u"], ["a", "b", "a", "a"]


def found(times: list[Any], unit: str = "s") -> list[Any]:
    """The `row` of the newest of user u and ad a together, of u and of a."""
    table = pa.table({"ts": times, "user": USERS, "ad": ADS, "row": range(len(USERS))})
    rows = newest([FramePart(table)], ["row"], ("ts", unit), ("user", "u"), ("ad", "a"))
    return [row and row["row"][0].as_py() for row in rows]


def test_the_last_of_those_with_the_greatest_time_counts() -> None:
    assert found([5, 9, 7, 5]) == [3, 1, 2]
    assert found([0, 0, 0, 0]) == [3, 3, 3]


@pytest.mark.parametrize("odd", [None, -1, 7_258_118_400])
def test_a_row_whose_time_cannot_be_is_no_impression(odd: int | None) -> None:
    assert found([5, 4, 3, odd]) == [0, 0, 0]
    assert found([odd] * 4) == [None, None, None]
