"""Append-only sources: what breaks the promise is refused, and what changes the edges makes a full build."""

from pathlib import Path

import pandas as pd
import pytest

from artifacts.errors import ConfigError, DataError, TransraError
from partitioning.ledger.ledger import FORMAT, load_ledger
from tests.partitioning.test_errors import PIN, USER, problems, relation
from tests.worlds.ledger_world import (
    SPLIT,
    assert_same_bytes,
    build,
    ledger_config,
    rows_of,
    two_days,
    write_day,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return two_days(tmp_path)


def failure(root: Path, raw: dict, known: str = "first") -> TransraError:
    with pytest.raises(TransraError) as caught:
        build(root, raw, "refused", known)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_changed_file_is_refused(root):
    write_day(root, "day-2", rows_of(2, range(19)))
    error = failure(root, ledger_config())
    assert type(error) is DataError and error.exit_code == 65
    assert "log/day-2.parquet: bytes changed from" in str(error)
    assert "graph.sources.log is append_only and has counted it; put it back, or count all" in str(error)


def test_vanished_files_are_refused(root):
    for day in (1, 2):
        (root / f"log/day-{day}.parquet").unlink()
    write_day(root, "day-3", rows_of(3))
    error = failure(root, ledger_config())
    assert type(error) is DataError
    assert "log/day-1.parquet: is gone, but" in str(error) and "(and 1 more files)" in str(error)


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, {"name": "viewed"}, "'seen' is gone or has another name, but was counted as joining 'user' and 'pin'"),
        (0, {"rhs": {**PIN, "type": "topic"}}, "'seen' joins 'user' and 'topic', but was counted as joining"),
        (2, {"relation_column": "user"}, "'by action' is gone"),
    ],
)
def test_a_renamed_or_retyped_relation_is_refused(root, index, change, message):
    raw = ledger_config()
    raw["relations"][index] |= change
    error = failure(root, raw)
    assert type(error) is ConfigError and error.exit_code == 2 and message in str(error)
    assert "set it back, or count all files again with --rebuild" in str(error)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 7}, "graph.seed changed from 0 to 7"),
        ({"split": {"time": {"valid_from": 20, "test_from": 85}}}, "valid_from went back, from 70 to 20 s"),
        ({"split": {"random": {"test": 0.5}}}, "graph.split.random changed"),
        ({"entities": {"user": {}, "pin": {}, "topic": {"partitions": 1}, "x": {}}}, "graph.entities.x changed"),
    ],
)
def test_another_config_counts_everything_again(root, change, reason):
    report = build(root, ledger_config(**change), "second", "first")
    assert any(reason in text for text in report.recounted) and report.files_settled == 0
    build(root, ledger_config(**change), "whole", "first", whole=True)
    assert_same_bytes(root / "second", root / "whole")


def test_another_list_of_consent_counts_everything_again(root):
    pd.DataFrame({"user": range(30)}).to_csv(root / "people.csv", index=False)
    report = build(root, ledger_config(), "second", "first")
    assert report.recounted == ["graph.sources.people has other files or others' content"]
    assert report.without_consent == {"visit": 0}


def test_a_ledger_of_another_format_is_not_continued(root):
    path = root / "first/ledger/ledger.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 0'))
    assert build(root, ledger_config(), "second", "first").rows_read["log"] == 40


def test_without_append_only_there_is_no_ledger(root):
    raw = ledger_config()
    raw["sources"]["log"]["append_only"] = False
    report = build(root, raw, "second", "first")
    assert load_ledger(root / "second") is None and not report.recounted and report.rows_read["log"] == 40


def test_parquet_of_another_type_is_refused(root):
    write_day(root, "day-3", [("seven", "a", "click", 1, 1.0)])
    error = failure(root, ledger_config())
    assert "day-3.parquet: column 'user' is VARCHAR, but BIGINT in the files counted before" in str(error)


def test_a_missing_id_in_a_new_file(root):
    write_day(root, "day-3", [(1, None, "click", 1, 1.0), (1, "a", "click", 1, 1.0)])
    assert "day-3.parquet, row 1: no value in column 'pin'" in str(failure(root, ledger_config()))


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (
            ledger_config(entities={"user": {"min_degree": 2}, "pin": {}, "topic": {}}),
            ("entities", "user", "min_degree"),
        ),
        (ledger_config(split={"time": {**SPLIT["time"], "until": 99}}), ("split", "time", "until")),
        (
            ledger_config(relations=[relation(lhs={**USER, "max_degree": 3})]),
            ("relations", 0, "lhs", "max_degree"),
        ),
        (ledger_config(relations=[relation(weight="1", half_life_days=3)]), ("relations", 0, "half_life_days")),
    ],
)
def test_what_needs_all_events_is_a_problem(raw, path):
    assert any(at == path and "whose old files are not read again" in message for at, message in problems(raw))


def test_a_list_is_no_log():
    raw = ledger_config()
    raw["sources"]["people"]["append_only"] = True
    assert [at for at, _ in problems(raw)] == [("sources", "people", "append_only")]
