"""Bad input: one clear line each, with the file and row or the config path, of the class that names who must act."""

import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from artifacts.errors import ConfigError, DataError, ResourceError, TransraError
from artifacts.machine import resources
from partitioning import GraphConfig, build_graph, graph_problems, source_files
from partitioning.config.sections import LEAST_MEMORY
from partitioning.edges.key import KeyLayout

USER, PIN = {"type": "user", "column": "user"}, {"type": "pin", "column": "pin"}


def config(**changes) -> dict:
    """One relation, `click`, over log.parquet; `changes` replace top-level keys."""
    base = {
        "memory_limit": "1GB",
        "sources": {"log": {"path": "log.parquet", "time_column": "ts", "time_unit": "s"}},
        "entities": {"user": {}, "pin": {}},
        "relations": [{"name": "click", "source": "log", "lhs": USER, "rhs": PIN}],
    }
    return {**base, **changes}


def relation(**changes) -> dict:
    return {**config()["relations"][0], **changes}


def log(**columns) -> pd.DataFrame:
    base = {"user": [1, 2, 3], "pin": ["a", "b", "c"], "ts": [10, 20, 30]}
    return pd.DataFrame({**base, **columns})


def failure(root: Path, raw: dict) -> TransraError:
    """The error of a build; the build must leave no spill behind."""
    section = GraphConfig.model_validate(raw)
    assert list(graph_problems(section)) == []
    (root / "graph").mkdir()
    with pytest.raises(TransraError) as caught:
        build_graph(section, root, root / "graph", lambda step, fraction: None)
    assert not (root / "graph/.spill").exists()
    assert "\n" not in str(caught.value)
    return caught.value


def problems(raw: dict) -> list[tuple[tuple, str]]:
    return [(problem.path, problem.message) for problem in graph_problems(GraphConfig.model_validate(raw))]


def check(error: TransraError, kind: type[TransraError], *parts: str) -> None:
    assert type(error) is kind, error
    for part in parts:
        assert part in str(error), str(error)


def test_missing_source(tmp_path):
    with pytest.raises(DataError, match=r"graph\.sources\.log\.path: no file matches 'log\.parquet'"):
        source_files(GraphConfig.model_validate(config()), tmp_path)


def test_unknown_suffix(tmp_path):
    (tmp_path / "log.xls").write_text("x")
    error = failure(tmp_path, config(sources={"log": {"path": "log.xls"}}))
    check(error, DataError, "graph.sources.log", "log.xls", "set format")


def test_missing_column(tmp_path):
    log().rename(columns={"pin": "pin_id"}).to_parquet(tmp_path / "log.parquet")
    check(
        failure(tmp_path, config()), DataError, "log.parquet", "no column 'pin'", "did you mean 'pin_id'?", "ts, user"
    )


def test_float_id(tmp_path):
    log(user=[1.0, 2.0, 3.0]).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config()), DataError, "log.parquet: column 'user' is DOUBLE", "an integer, VARCHAR")


def test_list_id(tmp_path):
    log(user=[[1], [2], [3]]).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config()), DataError, "log.parquet: column 'user' is BIGINT[]")


def test_text_time(tmp_path):
    log(ts=["2026-01-01", "2026-01-02T03:04:05Z", "soon"]).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config()), DataError, "log.parquet, row 3: column 'ts' has 'soon'", "an ISO date or time")


def test_float_time(tmp_path):
    log(ts=np.float32([0.5, 1.5, 2.5])).to_parquet(tmp_path / "log.parquet")  # minutes apart, of today's times
    check(failure(tmp_path, config()), DataError, "log.parquet: column 'ts' is FLOAT", "a number of 64 bits")


def test_integer_time_without_unit(tmp_path):
    log().to_parquet(tmp_path / "log.parquet")
    raw = config(sources={"log": {"path": "log.parquet", "time_column": "ts"}})
    check(failure(tmp_path, raw), ConfigError, "graph.sources.log.time_unit", "expected s, ms or us")


def test_csv_value_that_does_not_parse(tmp_path):
    (tmp_path / "log.csv").write_text("user,pin,ts\n1,a,10\n2,b,soon\n")
    raw = config(sources={"log": {"path": "log.csv", "time_column": "ts", "time_unit": "s"}})
    check(failure(tmp_path, raw), DataError, "log.csv, row 2: column 'ts' has 'soon'", "expected an integer")


def test_column_count_of_a_headerless_file(tmp_path):
    (tmp_path / "log.tsv").write_text("1\ta\tb\n")
    raw = config(sources={"log": {"path": "log.tsv", "columns": ["user", "pin"]}})
    check(failure(tmp_path, raw), DataError, "log.tsv, line 1: has 3 columns", "graph.sources.log.columns names 2")


def test_short_line(tmp_path):
    (tmp_path / "log.tsv").write_text("1\ta\n" * 50000 + "2\n")
    raw = config(sources={"log": {"path": "log.tsv", "columns": ["user", "pin"]}})
    check(failure(tmp_path, raw), DataError, "log.tsv, line 50001: has 1 fields; expected 2, as the header has")


@pytest.mark.parametrize("where", ["actoin = 'click'", "user = = 1", "user > (", "nope(user)"])
def test_broken_where(tmp_path, where):
    log().to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config(relations=[relation(where=where)])), ConfigError, "graph.relations[0].where: ")


def test_where_that_fails_on_a_row(tmp_path):
    log().to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(relations=[relation(where="CAST(pin AS INTEGER) > 1")]))
    check(error, DataError, "Could not convert string 'a'")


def test_empty_relation(tmp_path):
    log().to_parquet(tmp_path / "log.parquet")
    relations = [relation(), relation(name="none", where="user > 9")]
    error = failure(tmp_path, config(relations=relations))
    check(error, DataError, "graph.relations[1]: relation 'none' has no edges", "where user > 9", "allow_empty")


def test_null_id_in_parquet(tmp_path):
    log(pin=["a", None, "c"]).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config()), DataError, "log.parquet, row 2: no value in column 'pin'", '"pin IS NOT NULL"')


def test_null_id_in_csv(tmp_path):
    for name, rows in (("a", "1,a\n2,b\n"), ("b", "3,c\n4,\n")):
        (tmp_path / f"{name}.csv").write_text("user,pin\n" + rows)
    error = failure(tmp_path, config(sources={"log": {"path": "*.csv"}}))
    check(error, DataError, "b.csv, row 2: no value in column 'pin'")


def test_null_ids_outside_the_relation_are_fine(tmp_path):
    log(pin=["a", None, "c"]).to_parquet(tmp_path / "log.parquet")
    section = GraphConfig.model_validate(config(relations=[relation(where="pin IS NOT NULL")]))
    (tmp_path / "graph").mkdir()
    assert build_graph(section, tmp_path, tmp_path / "graph", lambda step, fraction: None).edges == 2


def test_null_relation(tmp_path):
    log(kind=["x", None, "y"]).to_parquet(tmp_path / "log.parquet")
    raw = config(relations=[relation(name=None, relation_column="kind")])
    check(failure(tmp_path, raw), DataError, "log.parquet, row 2: no value in column 'kind'")


def test_relation_column_that_repeats_a_name(tmp_path):
    log(kind=["x", "click", "y"]).to_parquet(tmp_path / "log.parquet")
    raw = config(relations=[relation(), relation(name=None, relation_column="kind")])
    check(failure(tmp_path, raw), ConfigError, "graph.relations[1].relation_column", "'click'", "graph.relations[0]")


@pytest.mark.parametrize("cut", [20, 3])
def test_truncated_parquet(tmp_path, cut):
    log().to_parquet(tmp_path / "log.parquet")
    whole = (tmp_path / "log.parquet").read_bytes()
    (tmp_path / "log.parquet").write_bytes(whole[:-cut])
    check(failure(tmp_path, config()), DataError, "log.parquet: the Parquet file is cut off")


def test_damaged_parquet(tmp_path):
    (tmp_path / "log.parquet").write_bytes(b"PAR1" + b"\1" * 100 + b"\5\0\0\0PAR1")
    check(failure(tmp_path, config()), DataError, "log.parquet: the Parquet file is damaged")


def test_not_parquet(tmp_path):
    (tmp_path / "log.parquet").write_text("user,pin\n1,2\n")
    check(failure(tmp_path, config()), DataError, "log.parquet: is not a Parquet file")


def test_empty_file(tmp_path):
    (tmp_path / "log.parquet").touch()
    check(failure(tmp_path, config()), DataError, "log.parquet: the file is empty")


def test_inconsistent_parquet(tmp_path):
    log().to_parquet(tmp_path / "a.parquet")
    log(user=["1", "2", "3"]).to_parquet(tmp_path / "b.parquet")
    error = failure(tmp_path, config(sources={"log": {"path": "*.parquet"}}))
    check(error, DataError, "b.parquet: column 'user' is VARCHAR", "but BIGINT in", "a.parquet")


def test_inconsistent_csv(tmp_path):
    (tmp_path / "a.csv").write_text("user,pin\n1,a\n")
    (tmp_path / "b.csv").write_text("user,pni\n1,a\n")
    error = failure(tmp_path, config(sources={"log": {"path": "*.csv"}}))
    check(error, DataError, "b.csv: source 'log' has no column 'pin', did you mean 'pni'?")


def test_milliseconds_given_as_seconds(tmp_path):
    log(ts=[10, 1_760_000_000_000, 30]).to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config())
    check(
        error, DataError, "log.parquet, row 2: column 'ts' has 1760000000000", "1970 to 2200", "sources.log.time_unit"
    )


def test_time_before_1970(tmp_path):
    log(ts=[10, 20, -5]).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config()), DataError, "log.parquet, row 3: column 'ts' has -5", "year 1969")


def test_missing_time(tmp_path):
    log(ts=pd.array([10, None, 30], "Int64")).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config()), DataError, "log.parquet, row 2: no value in column 'ts'")


def test_odd_times_outside_the_relation_are_fine(tmp_path):
    log(ts=[10, 1_760_000_000_000, 30]).to_parquet(tmp_path / "log.parquet")
    section = GraphConfig.model_validate(config(relations=[relation(where="user <> 2")]))
    (tmp_path / "graph").mkdir()
    assert build_graph(section, tmp_path, tmp_path / "graph", lambda step, fraction: None).edges == 2


def test_too_little_disk(tmp_path, monkeypatch):
    log().to_parquet(tmp_path / "log.parquet")
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda path: usage)
    check(failure(tmp_path, config()), ResourceError, "of disk", "free")


def test_more_memory_than_the_machine_has(tmp_path):
    log().to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config(memory_limit="9999GB")), ResourceError, "graph.memory_limit", "9999GB")


def test_too_little_memory(tmp_path):
    log().to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config(memory_limit="10MB")), ResourceError, "graph.memory_limit: 10MB is too little")


def test_full_disk_while_writing(tmp_path, monkeypatch):
    from partitioning.buckets import buckets

    def full(*arguments):
        raise OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')")

    log().to_parquet(tmp_path / "log.parquet")
    monkeypatch.setattr(buckets, "write_bucket", full)
    check(failure(tmp_path, config()), ResourceError, "the disk is full")


def test_a_disk_that_fails_when_it_is_synced(tmp_path, monkeypatch):
    from partitioning.buckets import buckets

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    log().to_parquet(tmp_path / "log.parquet")
    monkeypatch.setattr(buckets, "sync", full)
    check(failure(tmp_path, config()), ResourceError, "the disk is full")


def test_a_key_that_needs_more_than_64_bits():
    with pytest.raises(ResourceError, match=r"graph\.partitions: .* use more partitions"):
        KeyLayout.of(2**10, 2**30, 2**30)


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": {}},
        {"memory_limit": "lots"},
        {"entities": {"us er": {}}},
        {"split": {"time": {"valid_from": "someday", "test_from": 5}}},
        {"unknown": 1},
    ],
)
def test_values_refused_by_type(changes):
    with pytest.raises(ValidationError):
        GraphConfig.model_validate(config(**changes))


OFFSITE = {"domain": "offsite"}
PEOPLE = {"source": "log", "type": "user", "column": "user"}


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"relations": [relation(source="lgo")]},
            ("relations", 0, "source"),
            "unknown source 'lgo', did you mean 'log'?",
        ),
        (
            {"relations": [relation(lhs={"type": "usr", "column": "user"})]},
            ("relations", 0, "lhs", "type"),
            "unknown entity type 'usr', did you mean 'user'?",
        ),
        ({"relations": [relation(relation_column="x")]}, ("relations", 0), "exactly one of name and relation_column"),
        ({"relations": [relation(), relation()]}, ("relations", 1, "name"), "'click' is already graph.relations[0]"),
        ({"relations": [relation(source=[])]}, ("relations", 0, "source"), "at least one source"),
        ({"relations": [relation(source=["log", "log"])]}, ("relations", 0, "source"), "occurs twice"),
        ({"relations": [relation(**OFFSITE)]}, ("relations", 0, "consent"), "needs a consent source"),
        (
            {
                "relations": [relation(**OFFSITE)],
                "entities": {"user": {}, "pin": {}, "x": {}},
                "consent": {**PEOPLE, "type": "x"},
            },
            ("relations", 0, "consent"),
            "consent is given by 'x', but this relation joins 'user' and 'pin'",
        ),
        ({"relations": [relation(consent=PEOPLE)]}, ("relations", 0, "consent"), "only offsite relations"),
        ({"consent": {**PEOPLE, "source": "people"}}, ("consent", "source"), "unknown source 'people'"),
        ({"consent": {"source": "log", "type": "user"}}, ("consent", "column"), "needs it"),
        ({"consent": {}}, ("consent",), "exactly one of source and assumed"),
        (
            {"partitions": 4, "entities": {"user": {}, "pin": {"partitions": 2}}},
            ("entities", "pin", "partitions"),
            "expected 1 or graph.partitions (4), found 2",
        ),
        ({"split": {"random": {"valid": 0.5, "test": 0.5}}}, ("split", "random"), "leaves nothing for train"),
        (
            {"split": {"time": {"valid_from": "2026-01-02", "test_from": "2026-01-01"}}},
            ("split", "time", "test_from"),
            "must be after valid_from",
        ),
        (
            {"split": {"time": {"valid_from": 1, "test_from": 2, "until": 2}}},
            ("split", "time", "until"),
            "must be after test_from",
        ),
        (
            {"split": {"time": {"valid_from": 1, "test_from": 2}}, "sources": {"log": {"path": "x.csv"}}},
            ("split", "time"),
            "no source has a time_column",
        ),
        ({"split": {"time": {"valid_from": 1, "test_from": 2}, "random": {}}}, ("split",), "at most one"),
        ({"sources": {"log": {"path": "x.csv", "time_unit": "s"}}}, ("sources", "log", "time_unit"), "no meaning"),
        (
            {"sources": {"log": {"path": "x.csv", "columns": ["user", "pin"], "time_column": "ts"}}},
            ("sources", "log", "time_column"),
            "'ts' is not in columns",
        ),
    ],
)
def test_values_that_contradict_each_other(changes, path, message):
    assert any(found == path and message in text for found, text in problems(config(**changes)))


def test_all_problems_come_at_once():
    raw = config(relations=[relation(source="x"), relation(lhs={"type": "y", "column": "z"})])
    assert len(problems(raw)) == 3


def test_the_least_memory_is_enough(tmp_path):
    """What the plan lets through is what the engine can work with: there is one floor."""
    log().to_parquet(tmp_path / "log.parquet")
    raw = config(memory_limit=f"{LEAST_MEMORY // 1000 + 1} KB")
    (tmp_path / "least").mkdir()
    section = GraphConfig.model_validate(raw)
    assert build_graph(section, tmp_path, tmp_path / "least", lambda step, fraction: None).edges
    below = failure(tmp_path, config(memory_limit=f"{LEAST_MEMORY // 1000 - 1} KB"))
    check(below, ResourceError, "graph.memory_limit", "is too little")
