"""Consent as intervals [from, to): an event counts if its time lies within one of its person's."""

import csv
import decimal
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import ConfigError, DataError
from partitioning import GraphConfig, build_graph
from tests.partitioning.events.test_consent import FORMATS, build, held, write
from tests.partitioning.test_errors import PIN, USER, check, config, failure, problems, relation
from tests.worlds.ledger_world import assert_same_bytes
from tests.worlds.partitioning_reference import edges

INTERVALS = {"source": "people", "type": "user", "column": "person", "from_column": "since", "to_column": "until"}
COLUMNS = ["person", "since", "until"]
DAY = 86_400
START = 1_767_225_600  # 2026-01-01


def raw_config(root: Path, events: list[tuple], intervals: list[tuple], format: str = "parquet", **changes) -> dict:
    """Offsite events (user, pin, ts) that count by intervals (person, since, until), and one onsite view."""
    log = write(root, "bought", ["user", "pin", "ts"], events, format)
    seen = write(root, "seen", ["user", "pin", "ts"], [("q", "p", START)])
    people = write(root, "people", COLUMNS, intervals, format)
    when = {"time_column": "ts", "time_unit": "s"}
    base = {
        "sources": {
            "bought": {"path": log, **when},
            "seen": {"path": seen, **when},
            "people": {"path": people, "time_unit": "s"},
        },
        "relations": [
            relation(name="view", source="seen"),
            relation(name="buy", source="bought", domain="offsite", allow_empty=True),
        ],
        "consent": INTERVALS,
    }
    return config(**{**base, **changes})


def bought(root: Path, raw: dict, name: str = "graph", previous: str | None = None) -> list[tuple[str, str]]:
    build(root, raw, name, previous)
    return [(lhs, rhs) for _, relation, lhs, rhs in edges(root / name) if relation == "buy"]


def events_of(person: str, times: list[int]) -> list[tuple]:
    return [(person, f"{person}{at}", at) for at in times]


@pytest.mark.parametrize("format", FORMATS)
def test_the_beginning_counts_and_the_end_does_not(tmp_path: Path, format: str) -> None:
    events = [e for person in "abcdn" for e in events_of(person, [START, START + 10, START + 19, START + 20])]
    intervals = [
        ("a", START + 10, START + 20),
        ("b", None, START + 10),
        ("c", START + 20, None),
        ("d", None, None),
        ("m", START, None),
    ]
    expected = {
        f"{person}{START + at}"
        for person, times in (("a", [10, 19]), ("b", [0]), ("c", [20]), ("d", [0, 10, 19, 20]))
        for at in times
    }
    raw = raw_config(tmp_path, events, intervals, format)
    assert {pin for _, pin in bought(tmp_path, raw)} == expected
    assert not held(tmp_path, "graph") & ({"n", "m"} | {pin for _, pin, _ in events} - expected), "nor their ids"


def test_what_was_left_out_is_counted(tmp_path: Path) -> None:
    raw = raw_config(tmp_path, events_of("a", [START, START + 5]) + events_of("b", [START]), [("a", START + 5, None)])
    assert build(tmp_path, raw).without_consent == {"buy": 2}


@pytest.mark.parametrize("format", FORMATS)
def test_overlapping_intervals_count_an_event_once(tmp_path: Path, format: str) -> None:
    intervals = [("a", START, START + 20), ("a", START + 10, None), ("a", START + 10, None), ("a", None, START + 30)]
    raw = raw_config(tmp_path, events_of("a", [START + 15]), intervals, format)
    assert bought(tmp_path, raw) == [("a", f"a{START + 15}")]


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_interval_holds_nothing(tmp_path: Path, format: str) -> None:
    raw = raw_config(tmp_path, events_of("a", [START]), [("a", START, START)], format)
    assert bought(tmp_path, raw) == []


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ((START + 20, START + 10), f"an interval that begins at {START + 20} ends before, at {START + 10}"),
        ((0, START), "column 'since' has 0"),
        ((None, 0), "column 'until' has 0"),
        ((START * 1000, None), f"column 'since' has {START * 1000}, the year"),
        ((None, START * 1000), f"column 'until' has {START * 1000}, the year"),
        ((-5, None), "column 'since' has -5"),
        ((12_345, None), "column 'since' has 12345, the year 1970"),
    ],
)
def test_bounds_that_cannot_be_meant(tmp_path: Path, format: str, bounds: tuple, told: str) -> None:
    raw = raw_config(tmp_path, [("a", "p", START)], [("b", START, START + 1), ("a", *bounds)], format)
    check(failure(tmp_path, raw), DataError, f"people.{format}, row 2: ", told)


@pytest.mark.parametrize("key", [0, 1])
def test_a_lone_zero_is_no_beginning(tmp_path: Path, key: int) -> None:
    bounds = [None, None]
    bounds[key] = 0
    raw = raw_config(tmp_path, [("a", "p", START)], [("a", *bounds)])
    check(failure(tmp_path, raw), DataError, "people.parquet, row 1: ", "1970-01-01 00:00:00; expected a later time")


def test_a_coarser_unit_than_declared_would_open_every_interval(tmp_path: Path) -> None:
    raw = raw_config(tmp_path, [("a", "p", START)], [("a", START + DAY, None)])
    raw["sources"]["people"]["time_unit"] = "ms"
    check(failure(tmp_path, raw), ConfigError, "graph.sources.people.time_unit to be 's'")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("text", ["soon", "2026-13-01", "-"])
def test_a_bound_that_is_no_time(tmp_path: Path, format: str, text: str) -> None:
    raw = raw_config(tmp_path, [("a", "p", START)], [("b", "2026-01-01", None), ("a", "2026-01-01", text)], format)
    del raw["sources"]["people"]["time_unit"]
    check(failure(tmp_path, raw), DataError, f"people.{format}, row 2: column 'until' has '{text}'; expected an ISO")


@pytest.mark.parametrize("format", FORMATS)
def test_numbers_without_a_unit(tmp_path: Path, format: str) -> None:
    raw = raw_config(tmp_path, [("a", "p", START)], [("a", START, START + 5)], format)
    del raw["sources"]["people"]["time_unit"]
    if format == "csv":
        check(failure(tmp_path, raw), DataError, "people.csv, row 1: ", "expected an ISO date or time")
    else:
        check(failure(tmp_path, raw), ConfigError, "graph.sources.people.time_unit", "expected s, ms or us")


@pytest.mark.parametrize("format", FORMATS)
def test_zones_and_dates(tmp_path: Path, format: str) -> None:
    """Midnight in Berlin is an hour before that of UTC; a date is its midnight in UTC, so `until` is not part of it."""
    midnight = START + DAY
    events = [e for person in "abcd" for e in events_of(person, [midnight - 3601, midnight - 3600, midnight])]
    intervals = [
        ("a", "2026-01-02T00:00:00+01:00", None),
        ("b", "2026-01-02", None),
        ("c", None, "2026-01-02T00:00:00+01:00"),
        ("d", None, "2026-01-02"),
    ]
    raw = raw_config(tmp_path, events, intervals, format)
    del raw["sources"]["people"]["time_unit"]
    expected = {("a", 1), ("a", 2), ("b", 2), ("c", 0), ("d", 0), ("d", 1)}
    times = [midnight - 3601, midnight - 3600, midnight]
    assert set(bought(tmp_path, raw)) == {(person, f"{person}{times[at]}") for person, at in expected}


def test_times_of_every_type_and_unit_are_compared_to_the_fraction(tmp_path: Path) -> None:
    """An event at 10.4 s is before an interval from 10.5 s, however both are written."""
    at, since = START + 10.4, START + 10.5
    base = pd.Timestamp(START, unit="s", tz="UTC")
    moments = {"at": base + pd.Timedelta(seconds=10.4), "since": base + pd.Timedelta(seconds=10.5)}
    kinds = {
        "ms": {"at": int(at * 1000), "since": int(since * 1000)},
        "s": {"at": at, "since": since},
        "text": {"at": moments["at"].isoformat(), "since": moments["since"].isoformat()},
        "us": {name: moment.as_unit("us") for name, moment in moments.items()},
        "ns": {name: moment.as_unit("ns") for name, moment in moments.items()},
    }
    for event, event_times in kinds.items():
        for bound, bounds in kinds.items():
            events = [("a", "before", event_times["at"]), ("a", "on", event_times["since"])]
            raw = raw_config(tmp_path, [("q", "p", START)], [("q", START, None)])
            pd.DataFrame(events, columns=["user", "pin", "ts"]).to_parquet(tmp_path / "bought.parquet")
            people = pd.DataFrame({"person": ["a", "z"], "since": [bounds["since"], None], "until": [None, None]})
            people.to_parquet(tmp_path / "people.parquet")
            raw["sources"]["bought"]["time_unit"] = event if event in ("s", "ms") else None
            raw["sources"]["people"]["time_unit"] = bound if bound in ("s", "ms") else None
            assert bought(tmp_path, raw, f"{event}-{bound}") == [("a", "on")], (event, bound)


def test_nanoseconds_are_compared(tmp_path: Path) -> None:
    raw = raw_config(tmp_path, [("a", "p", START)], [("a", START, None)])
    since, ns = START * 10**9 + 7, pa.timestamp("ns")
    for name, columns in (
        ("bought", {"user": ["a", "a"], "pin": ["before", "on"], "ts": pa.array([since - 1, since], ns)}),
        ("people", {"person": ["a"], "since": pa.array([since], ns), "until": pa.array([None], ns)}),
    ):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        raw["sources"][name] |= {"time_unit": None}
    assert bought(tmp_path, raw) == [("a", "on")]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
@pytest.mark.parametrize("where", ["bought", "people"])
def test_fractions_of_an_epoch_in_text_are_refused(tmp_path: Path, format: str, where: str) -> None:
    """They are floored as they are read, which would move an event into an interval."""
    events, intervals = [("a", "p", START)], [("a", START, None)]
    if where == "bought":
        events.append(("a", "p", START + 0.25))
    else:
        intervals.append(("a", START + 0.25, None))
    check(
        failure(tmp_path, raw_config(tmp_path, events, intervals, format)),
        DataError,
        f"{where}.{format}, row 2: ",
        "an integer",
    )


@pytest.mark.parametrize("format", FORMATS)
def test_an_event_without_a_time_is_not_one_of_another_day(tmp_path: Path, format: str) -> None:
    for person, refused in (("a", True), ("n", False)):
        root = tmp_path / person
        root.mkdir()
        raw = raw_config(root, [("a", "p", START), (person, "p", None)], [("a", START, None)], format)
        if refused:
            check(failure(root, raw), DataError, f"bought.{format}, row 2: no value in column 'ts'")
        else:
            assert bought(root, raw) == [("a", "p")]


@pytest.mark.parametrize("name", ["bought", "people"])
@pytest.mark.parametrize("odd", [[float("nan")], pa.array([decimal.Decimal(10) ** 30], pa.decimal128(38, 0))])
def test_a_number_that_is_no_time_behind_statistics(tmp_path: Path, name: str, odd: list | pa.Array) -> None:
    """DuckDB believes of a Parquet file without nulls that every number can be cast."""
    raw = raw_config(tmp_path, [("a", "p", START)], [("a", START, None)])
    first = pa.array([START], odd.type) if isinstance(odd, pa.Array) else pa.array([float(START)])
    times = pa.chunked_array([first, pa.array(odd, first.type)])
    columns, column = {"user": ["a", "a"], "pin": ["p", "q"], "ts": times}, "ts"
    if name == "people":
        columns, column = {"person": ["a", "b"], "since": times, "until": pa.nulls(2, pa.int64())}, "since"
    pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    check(failure(tmp_path, raw), DataError, f"{name}.parquet, row 2: column '{column}' has")


@pytest.mark.parametrize("text", ["infinity", "-infinity", "9999-12-31", "epoch"])
def test_other_ways_to_say_for_ever_have_their_way_out(tmp_path: Path, text: str) -> None:
    raw = raw_config(tmp_path, [("a", "p", START)], [("a", "2026-01-01", text)], "csv")
    del raw["sources"]["people"]["time_unit"]
    check(failure(tmp_path, raw), DataError, "people.csv, row 1: column 'until'")


def test_an_event_at_zero_is_not_one_of_another_day(tmp_path: Path) -> None:
    raw = raw_config(tmp_path, [("a", "p", START), ("a", "p", 0)], [("a", START, None)])
    check(failure(tmp_path, raw), DataError, "bought.parquet, row 2: column 'ts' has 0")


@pytest.mark.parametrize("format", FORMATS)
def test_a_row_of_nobody_and_other_questions(tmp_path: Path, format: str) -> None:
    raw = raw_config(tmp_path, events_of("a", [START]), [])
    rows = [("a", "mail", START, None), (None, "ads", START + 9, START), ("a", "ads", START + 1, None)]
    people = write(tmp_path, "people", ["person", "purpose", "since", "until"], rows, format)
    raw["sources"]["people"]["path"] = people
    raw["consent"] = {**INTERVALS, "about": "purpose = 'ads'"}
    assert bought(tmp_path, raw) == []


def test_columns_called_as_ours(tmp_path: Path) -> None:
    rename = {"user": "person", "pin": "since", "ts": "until"}
    for found in ({"user": "a", "pin": "in", "ts": START + 5}, {"user": "a", "pin": "out", "ts": START + 50}):
        assert rename.keys() == found.keys()
    raw = raw_config(tmp_path, [("z", "z", START)], [("a", START, START + 10)])
    write(tmp_path, "bought", list(rename.values()), [("a", "in", START + 5), ("a", "out", START + 50)])
    raw["sources"]["bought"]["time_column"] = "until"
    raw["relations"][1] |= {"lhs": {**USER, "column": "person"}, "rhs": {**PIN, "column": "since"}}
    assert bought(tmp_path, raw) == [("a", "in")]


@pytest.mark.parametrize("name", ["moment", "person of user", "c", "e", "consent_0", "current_date", "id"])
@pytest.mark.parametrize("used", [True, False])
def test_a_column_of_any_name(tmp_path: Path, name: str, used: bool) -> None:
    raw = raw_config(tmp_path, [], [("a", START, START + 5)])
    columns = {"user": ["a", "a"], "pin": ["in", "out"], "ts": [START, START + 7]}
    columns[name] = ["in", "out"] if used else [START + 7, START]
    pq.write_table(pa.table(columns), tmp_path / "bought.parquet")
    raw["relations"][1]["rhs"] = {**PIN, "column": name if used else "pin"}
    assert bought(tmp_path, raw) == [("a", "in")]


def test_both_sides_a_join_and_a_relation_column(tmp_path: Path) -> None:
    raw = raw_config(tmp_path, [("a", "b", START + 5), ("a", "b", START + 15)], [("a", START, None), ("b", None, None)])
    write(tmp_path, "people", COLUMNS, [("a", START, None), ("b", None, START + 10)])
    raw["relations"][1]["rhs"] = {"type": "user", "column": "pin"}
    assert bought(tmp_path, raw) == [("a", "b")]
    write(tmp_path, "names", ["nick", "person"], [("a", "b"), ("c", "a")])
    raw["sources"]["names"] = {"path": "names.parquet"}
    looked_up = {**USER, "join": {"source": "names", "column": "nick", "to": "person"}}
    raw["relations"][1] |= {"lhs": looked_up, "rhs": PIN, "name": None, "relation_column": "pin"}
    build(tmp_path, raw, "joined")
    assert ("train", "b", "b", "b") in edges(tmp_path / "joined")
    assert len([edge for edge in edges(tmp_path / "joined") if edge[1] == "b"]) == 1


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"to_column": None}, ("consent", "to_column"), "needs from_column and to_column"),
        ({"from_column": None}, ("consent", "from_column"), "needs from_column and to_column"),
        ({"time_column": "at"}, ("consent", "time_column"), "but graph.consent.from_column says"),
        ({"where": "x = 1"}, ("consent", "where"), "but graph.consent.from_column says"),
        ({"answer": "x", "yes": ["y"]}, ("consent", "answer"), "but graph.consent.from_column says"),
    ],
)
def test_either_a_history_or_intervals(tmp_path: Path, change: dict, path: tuple, message: str) -> None:
    raw = raw_config(tmp_path, [], [], consent={**INTERVALS, **change})
    found = problems(raw)
    assert path in [one for one, _ in found] and all(message in told for one, told in found if one == path)


def test_a_source_that_dates_answers_holds_no_intervals(tmp_path: Path) -> None:
    raw = raw_config(tmp_path, [], [])
    raw["sources"]["people"]["time_column"] = "at"
    ((path, message),) = problems(raw)
    assert path == ("sources", "people", "time_column") and "graph.consent.from_column says" in message


@pytest.mark.parametrize("own", [False, True])
def test_a_source_without_times_cannot_lie_within_intervals(tmp_path: Path, own: bool) -> None:
    raw = raw_config(tmp_path, [], [])
    raw["sources"]["bought"] = {"path": "bought.parquet"}
    if own:
        raw["consent"], raw["relations"][1]["consent"] = None, INTERVALS
    ((path, message),) = problems(raw)
    where = "graph.relations[1].consent" if own else "graph.consent"
    assert path == ("relations", 1, "source") and "source 'bought' has no time_column" in message
    assert message.startswith(f"{where}.from_column")


def test_the_unit_of_answers_needs_no_time_column_of_the_source(tmp_path: Path) -> None:
    history = {"source": "people", "type": "user", "column": "person", "answer": "since", "yes": ["y"], "no": ["n"]}
    people = [("a", "n", START), ("a", "y", START + 1), ("b", "y", START), ("b", "n", START + 1)]
    raw = raw_config(
        tmp_path, [("a", "p", START), ("b", "p", START)], people, consent={**history, "time_column": "until"}
    )
    assert bought(tmp_path, raw) == [("a", "p")]


def test_forgotten_people_are_forgotten_within_their_intervals_too(tmp_path: Path) -> None:
    events = events_of("a", [START]) + events_of("b", [START])
    raw = raw_config(tmp_path, events, [("a", None, None), ("b", None, None)])
    raw["sources"]["gone"] = {"path": write(tmp_path, "gone", ["type", "id"], [("user", "b")])}
    raw["forget"] = {"source": "gone"}
    assert bought(tmp_path, raw) == [("a", f"a{START}")] and "b" not in held(tmp_path, "graph")


def night(root: Path, name: str, events: list[tuple]) -> None:
    (root / "log").mkdir(exist_ok=True)
    write(root / "log", name, ["user", "pin", "ts"], events)


def growing(root: Path, intervals: list[tuple]) -> dict:
    raw = raw_config(root, [], intervals)
    raw["sources"]["bought"] |= {"path": "log/*.parquet", "append_only": True}
    raw["relations"], raw["sources"] = raw["relations"][1:], {n: s for n, s in raw["sources"].items() if n != "seen"}
    return raw


def test_a_night_counts_new_events_by_the_same_intervals(tmp_path: Path) -> None:
    night(tmp_path, "1", events_of("a", [START, START + DAY]))
    raw = growing(tmp_path, [("a", START, START + 2 * DAY), ("b", START + 2 * DAY, None)])
    build(tmp_path, raw, "first")
    later = events_of("a", [START + 2 * DAY - 1, START + 2 * DAY]) + events_of("b", [START, START + 3 * DAY])
    night(tmp_path, "2", later)
    report = build(tmp_path, raw, "night", "first")
    assert report.files_settled and not report.recounted
    assert report.without_consent == {"buy": 2}
    found = {pin for _, relation, _, pin in edges(tmp_path / "night") if relation == "buy"}
    assert found == {f"a{START}", f"a{START + DAY}", f"a{START + 2 * DAY - 1}", f"b{START + 3 * DAY}"}


@pytest.mark.parametrize("change", ["closes", "is gone", "begins later", "opens"])
def test_an_interval_that_changes_takes_back_what_was_counted(tmp_path: Path, change: str) -> None:
    night(tmp_path, "1", events_of("a", [START, START + DAY]) + events_of("b", [START]))
    first = [("a", START, None), ("b", START, START + 1)]
    build(tmp_path, growing(tmp_path, first), "first")
    night(tmp_path, "2", events_of("a", [START + 2 * DAY]))
    now = {
        "closes": [("a", START, START + DAY), first[1]],
        "is gone": first[1:],
        "begins later": [("a", START + DAY, None), first[1]],
        "opens": [*first, ("n", START, None)],
    }[change]
    raw = growing(tmp_path, now)
    report = build(tmp_path, raw, "second", "first")
    assert report.recounted == ["graph.sources.people has other files or others' content"]
    full = {**raw, "sources": {**raw["sources"], "bought": {**raw["sources"]["bought"], "append_only": False}}}
    build(tmp_path, full, "full", "first")
    assert edges(tmp_path / "second") == edges(tmp_path / "full")
    assert held(tmp_path, "second") == held(tmp_path, "full")
    times = {"closes": [0], "is gone": [], "begins later": [1, 2], "opens": [0, 1, 2]}[change]
    expected = {f"a{START + day * DAY}" for day in times} | {f"b{START}"}
    assert {pin for _, relation, _, pin in edges(tmp_path / "second") if relation == "buy"} == expected


def test_a_night_has_the_bytes_of_a_full_build(tmp_path: Path) -> None:
    night(tmp_path, "1", [e for person in "abc" for e in events_of(person, [START + d * DAY for d in range(3)])])
    ends = ("b", None, START + DAY)
    raw = growing(tmp_path, [("a", START + DAY, START + 3 * DAY), ("a", START + 4 * DAY, None), ends])
    build(tmp_path, raw, "first")
    night(tmp_path, "2", [e for person in "abc" for e in events_of(person, [START + d * DAY for d in range(3, 6)])])
    build(tmp_path, raw, "night", "first")
    (tmp_path / "first/ledger/ledger.json").unlink()
    build(tmp_path, raw, "full", "first")
    assert_same_bytes(tmp_path / "night", tmp_path / "full")


def iso(second: int, hours: int) -> str:
    return datetime.fromtimestamp(second, timezone(timedelta(hours=hours))).isoformat()


bounds = st.one_of(st.none(), st.integers(1, 8))
people = st.sampled_from(["a", "b", "c"])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(people, st.integers(0, 9)), min_size=1, max_size=12),
    st.lists(st.tuples(people, bounds, bounds, st.integers(-12, 12)), max_size=8),
    st.sampled_from(FORMATS),
    st.booleans(),
)
def test_as_a_loop_over_rows_and_intervals_has_it(
    events: list[tuple[str, int]], intervals: list[tuple[str, int | None, int | None, int]], format: str, texts: bool
) -> None:
    """`intervals` are (person, since, until, hours of the zone that a text is in)."""
    rows = [
        (person, *(sorted((since, until)) if since and until else (since, until)), hours)
        for person, since, until, hours in intervals
    ]
    expected = sorted(
        (person, f"{person}{at}")
        for person, at in events
        if any(
            one == person and (since is None or since <= at) and (until is None or at < until)
            for one, since, until, _ in rows
        )
    )

    def written(second: int | None, hours: int) -> int | str | None:
        if second is None:
            return None
        return iso(START + second, hours) if texts else START + second

    with TemporaryDirectory() as directory:
        root = Path(directory)
        log = [(person, f"{person}{at}", START + at) for person, at in events]
        listed = [(person, written(since, zone), written(until, zone)) for person, since, until, zone in rows]
        raw = raw_config(root, log, [*listed, ("nobody", written(1, 0), written(2, 0))], format)
        raw["sources"]["people"]["time_unit"] = None if texts else "s"
        assert sorted(bought(root, raw)) == expected


def test_tables_in_memory(tmp_path: Path) -> None:
    raw = raw_config(tmp_path, events_of("a", [START, START + 10]), [("a", START, None)])
    frame = pd.DataFrame({"person": ["a"], "since": [START], "until": [START + 5]})
    (tmp_path / "graph").mkdir()
    build_graph(
        GraphConfig.model_validate(raw),
        tmp_path,
        tmp_path / "graph",
        lambda step, fraction: None,
        sources={"people": frame},
    )
    assert [pin for *_, name, _, pin in edges(tmp_path / "graph") if name == "buy"] == [f"a{START}"]


def test_csv_and_json_say_nothing_in_their_own_ways(tmp_path: Path) -> None:
    raw = raw_config(tmp_path, events_of("a", [START]) + events_of("b", [START]), [])
    raw["sources"]["people"]["path"] = ["people.csv", "more.csv"]
    with (tmp_path / "people.csv").open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([COLUMNS, ("a", "", "")])
    (tmp_path / "more.csv").write_text("person,since,until\nb,,\n")
    assert len(bought(tmp_path, raw, "csv")) == 2
    (tmp_path / "people.jsonl").write_text(
        json.dumps({"person": "a", "since": START}) + "\n" + json.dumps({"person": "b", "until": START + 1}) + "\n"
    )
    raw["sources"]["people"]["path"] = "people.jsonl"
    assert len(bought(tmp_path, raw, "json")) == 2
