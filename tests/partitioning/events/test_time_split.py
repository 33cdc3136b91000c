"""The split by time is one rule: its SQL and its numpy agree on every moment."""

import duckdb
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partitioning.config.sections import TimeSplit
from partitioning.events.time_split import SplitByTime

seconds = st.integers(-(10**11), 10**11)


@given(borders=st.lists(seconds, min_size=2, max_size=2, unique=True), others=st.lists(seconds, max_size=20))
def test_sql_and_numpy_agree(borders: list[int], others: list[int]) -> None:
    rule = SplitByTime(*sorted(borders))
    moments = [*others, *(border + step for border in borders for step in (-1, 0, 1))]
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT {rule.sql('t')} FROM (SELECT unnest({moments}::BIGINT[]) AS t)").fetchall()
    assert rule.codes(np.array(moments)).tolist() == [code for (code,) in found]


def test_borders_belong_to_what_they_begin() -> None:
    rule = SplitByTime.of(TimeSplit(valid_from="1970-01-01T00:01:00Z", test_from=120))
    assert rule.codes(np.array([59, 60, 119, 120])).tolist() == [0, 1, 1, 2]
