"""Append-only sources: a graph that follows one with a ledger reads new files only, and is what a full build gives."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from artifacts.formats.graph import load_graph
from partitioning import GraphConfig, build_graph
from tests.worlds.ledger_world import (
    EVENTS,
    assert_same_bytes,
    build,
    ledger_config,
    rows_of,
    two_days,
    weighted_config,
    write_day,
    write_tables,
)
from tests.worlds.partitioning_reference import edges

events = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from("abcdef"),
        st.sampled_from(["click", "hide", "save"]),
        st.integers(0, 99),
        st.sampled_from([0.1, 1.0, 2.7]),
    ),
    min_size=1,
    max_size=30,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return two_days(tmp_path)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    nights=st.lists(events, min_size=2, max_size=4),
    weights=st.booleans(),
    split=st.sampled_from(["time", "random", "source", "none"]),
    steps=st.lists(st.integers(0, 15), min_size=4, max_size=4),
)
def test_increments_give_the_bytes_of_a_full_build(tmp_path_factory, nights, weights, split, steps):
    root = tmp_path_factory.mktemp("ledger")
    write_tables(root)
    make, valid_from, before = weighted_config if weights else ledger_config, 40, None
    for night, rows in enumerate(nights):
        write_day(root, f"day-{night}", rows)
        valid_from += steps[night]
        rules = {
            "time": {"time": {"valid_from": valid_from, "test_from": valid_from + 20}},
            "random": {"random": {"valid": 0.2, "test": 0.2}},
        }
        raw = make(split=rules.get(split, {}))
        raw["sources"]["log"]["split"] = "test" if split == "source" else None
        report = build(root, raw, f"night-{night}", before)
        whole = build(root, raw, f"whole-{night}", before, whole=True)
        assert_same_bytes(root / f"night-{night}", root / f"whole-{night}")
        assert (report.files_settled, whole.files_settled) == (night + 1 if before else 0, 0)
        assert report.edges_left_out == whole.edges_left_out and report.known == whole.known
        before = f"night-{night}"
    build(root, raw, "fresh")
    assert edges(root / before) == edges(root / "fresh")


def test_only_new_files_are_read(root):
    write_day(root, "day-3", rows_of(3, range(15, 40)))
    report = build(root, ledger_config(), "second", "first")
    assert report.rows_read == {"log": 25, "people": 15}, "the table and two days are settled"
    assert report.files_settled == 3 and not report.recounted
    build(root, ledger_config(), "whole", "first", whole=True)
    assert_same_bytes(root / "second", root / "whole")


def test_a_night_without_new_files_moves_the_dates(root):
    split = {"time": {"valid_from": 25, "test_from": 30}}
    build(root, ledger_config(split={"time": {"valid_from": 15, "test_from": 20}}), "early")
    report = build(root, ledger_config(split=split), "later", "early")
    assert report.rows_read == {"people": 15}
    build(root, ledger_config(split=split), "whole", "early", whole=True)
    assert_same_bytes(root / "later", root / "whole")
    windows = [load_graph(root / name).window for name in ("early", "later")]
    assert windows == [(7, 14), (7, 24)], "what was held out is training now"


def test_a_second_log_and_an_inverse(root):
    more = {"path": "more/*.csv", "append_only": True, "split": "valid", "types": {"amount": "DOUBLE"}}
    raw = weighted_config()
    raw["sources"]["more"] = more
    raw["relations"][0]["source"] = ["log", "more"]
    (root / "more").mkdir()
    for day in (3, 4):
        pd.DataFrame(rows_of(day), columns=EVENTS).to_csv(root / f"more/{day}.csv", index=False)
        before = None if day == 3 else "third"
        build(root, raw, {3: "third", 4: "fourth"}[day], before)
    assert build(root, raw, "whole", "third", whole=True).files_settled == 0
    assert_same_bytes(root / "fourth", root / "whole")
    assert any(edge[:2] == ("valid", "clicked_by") for edge in edges(root / "fourth"))


def test_a_name_that_sorts_before_the_known_ones(root):
    rows = [(user, "a", "ask", 1, 1.0) for user in range(5)]
    write_day(root, "day-3", rows)
    build(root, ledger_config(), "second", "first")
    assert [r.name for r in load_graph(root / "second").relations] == ["seen", "visit", "ask", "click", "hide", "about"]
    build(root, ledger_config(), "whole", "first", whole=True)
    assert_same_bytes(root / "second", root / "whole")


def test_a_partition_that_needs_more_bits(root):
    write_day(root, "day-3", [(user, f"p{user}", "click", 1, 1.0) for user in range(300)])
    build(root, ledger_config(), "second", "first")
    build(root, ledger_config(), "whole", "first", whole=True)
    assert_same_bytes(root / "second", root / "whole")


def test_a_number_in_text_stays_one(root):
    """DuckDB would take the amounts of the second day for text, and '5' > '12' holds for text."""
    raw = ledger_config()
    raw["sources"]["log"] |= {"path": "text/*.csv", "types": {"amount": "DOUBLE"}}
    raw["relations"][0]["where"] = "amount > 12"
    (root / "text").mkdir()
    for day, amounts in (("1", [13, 5]), ("2", [None, None])):
        rows = [(user, "a", "click", 1, amount) for user, amount in enumerate(amounts)]
        pd.DataFrame(rows, columns=EVENTS).to_csv(root / f"text/{day}.csv", index=False)
        build(root, raw, f"text-{day}", None if day == "1" else "text-1")
    build(root, raw, "whole", "text-1", whole=True)
    assert_same_bytes(root / "text-2", root / "whole")
    assert [edge for edge in edges(root / "text-2") if edge[1] == "seen"] == [("train", "seen", "0", "a")]


def test_the_progress_of_a_night_is_that_of_its_own_files(root: Path) -> None:
    """Not of all files that were ever counted: the bar of a night that adds 1 % would stop near 1 %."""
    seen: list[float] = []

    def progress(step: str, fraction: float) -> None:
        if step == "edges":
            seen.append(fraction)

    for day in range(3, 30):
        write_day(root, f"day-{day}", rows_of(day))
    build(root, ledger_config(), "most", "first")
    write_day(root, "day-30", rows_of(30))
    (root / "night").mkdir()
    build_graph(GraphConfig.model_validate(ledger_config()), root, root / "night", progress, root / "most")
    assert 0.3 < max(seen) <= 1
