"""Checks before publication: every kind against the last published run, warned of or refused, before training."""

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli import main
from pipeline.workspace.workspace import Workspace
from tests.partitioning.test_errors import PIN, USER, config, relation
from tests.worlds.night_world import newest, transra

MODEL = {"operator": "transr", "dimension": 4, "epochs": 1, "workers": 1}
# Kind, value on the second night and the bound that it breaks. The log is that of `write`.
KINDS = [
    ({"kind": "rows", "source": "log"}, 2.0, {"max": 1.5}),
    ({"kind": "null_rate", "source": "log", "column": "note"}, 0.25, {"max": 0.2}),
    ({"kind": "duplicate_rate", "source": "log", "columns": ["user", "pin"]}, 0.5, {"max": 0.4}),
    ({"kind": "unknown_values"}, 1.0, {"max": 0}),
    ({"kind": "without_edges", "type": "pin"}, 0.25, {"max": 0.2}),
    ({"kind": "map_overlap", "type": "user"}, 0.5, {"min": 0.6}),
    ({"kind": "sql", "sql": "SELECT avg(ts) FROM log WHERE note = 'x'"}, 1.0, {"min": 2}),
    ({"kind": "sql", "sql": "WITH n AS (SELECT count(*) c FROM log) SELECT c FROM n;"}, 16.0, {"max": 10}),
]  # fmt: skip


def write(root: Path, users: range, action: str, pins: int, copies: int = 1) -> None:
    rows = [(user, f"p{user % pins}", action, 1, None if user % 4 == 0 else "x") for user in users] * copies
    pd.DataFrame(rows, columns=["user", "pin", "action", "ts", "note"]).to_parquet(root / "log.parquet")


def write_config(root: Path, *checks: dict) -> None:
    by_action = relation(name=None, relation_column="action", lhs=USER, rhs=PIN, source="log")
    graph = config(relations=[by_action])
    (root / "c.json").write_text(json.dumps({"graph": graph, "model": MODEL, "checks": checks}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A published run of eight users on four pins, and a second night: half of the users are new, a pin is gone."""
    write(tmp_path, range(8), "click", pins=4)
    write_config(tmp_path, *({**kind, **bound} for kind, _, bound in KINDS))
    assert transra(tmp_path, "run", "--set", "checks=[]") == 0
    write(tmp_path, range(4, 12), "save", pins=3, copies=2)
    return tmp_path


@pytest.mark.parametrize(("kind", "value", "bound"), KINDS)
def test_what_breaks_a_bound_is_not_published(
    root: Path, kind: dict, value: float, bound: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    published = Workspace(root / "runs/c").latest
    write_config(root, {**kind, **bound})
    assert transra(root, "run") == 65
    out, err = capsys.readouterr()
    assert f"is {value:.4g}; expected" in err and err.count("\n") == 1
    assert "outcome" in out and "fail" in out
    assert Workspace(root / "runs/c").latest == published
    assert newest(root).record("train") is None
    assert transra(root, "train") == 65, "nor by hand"
    write_config(root, {**kind, **bound, "level": "warn"})
    capsys.readouterr()
    assert transra(root, "run", "--quiet") == 0
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("transra: warning: checks[0]: ") and err.count("\n") == 1
    (verdict,) = newest(root).metrics()["checks"]["checks"]
    assert verdict["value"] == pytest.approx(value) and verdict["outcome"] == "warn"
    assert Workspace(root / "runs/c").latest == newest(root)


def test_bounds_change_without_a_new_graph(root: Path) -> None:
    kind, _, bound = KINDS[0]
    write_config(root, {**kind, **bound})
    assert transra(root, "partition") == 65, "who makes a graph by hand hears of it, too"
    made = newest(root).record("partition")
    write_config(root, {**kind, "max": 3})
    assert transra(root, "run") == 0
    assert newest(root).record("partition") == made
    assert json.loads((newest(root).path / "metrics.json").read_text())["checks"]["checks"][0]["outcome"] == "ok"
    assert transra(root, "run") == 0, "held against the run that was published before, not against itself"


def test_a_first_run_has_nothing_to_compare_with(tmp_path: Path) -> None:
    write(tmp_path, range(8), "click", pins=4)
    write_config(tmp_path, *({**kind, **bound} for kind, _, bound in (KINDS[0], KINDS[3], KINDS[5])))
    assert transra(tmp_path, "run") == 0
    assert {one["outcome"] for one in newest(tmp_path).metrics()["checks"]["checks"]} == {"skipped"}


def test_a_number_that_is_none_fails(root: Path) -> None:
    write_config(root, {"kind": "sql", "sql": "SELECT max(ts) FROM log WHERE false", "min": 0})
    assert transra(root, "run") == 65


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM logs", "unknown source 'logs', did you mean 'log'?"),
        ("SELECT count(*) FROM read_csv('/etc/passwd')", "something else than the sources"),
        ("DELETE FROM log", "expected one SELECT"),
        ("SELECT 1; SELECT 2", "expected one SELECT"),
        ("SELECT user, ts FROM log", "expected one number"),
        ("SELECT 'a' FROM log LIMIT 1", "returned VARCHAR; expected one number"),
        ("SELECT max(tss) FROM log", "tss"),
        ("SELEC 1", "expected one SELECT"),
        ("SELECT count(*) FROM forgotten", "unknown source 'forgotten'"),
    ],
)
def test_sql_is_one_select_over_the_sources(
    tmp_path: Path, sql: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, range(8), "click", pins=4)
    write_config(tmp_path, {"kind": "sql", "sql": sql, "min": 0})
    assert transra(tmp_path, "partition") == 2
    error = capsys.readouterr().err
    assert error.startswith("transra: checks[0].sql: ") and expected in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("check", "line"),
    [
        ({"kind": "rows", "source": "log"}, "checks[0].min: expected a bound"),
        ({"kind": "rows", "max": 1}, "checks[0].source: missing; a check of kind 'rows' needs it"),
        ({"kind": "rows", "source": "lo", "max": 1}, "checks[0].source: unknown source 'lo', did you mean 'log'?"),
        ({"kind": "rows", "source": "log", "sql": "x", "max": 1}, "checks[0].sql: has no meaning"),
        ({"kind": "map_overlap", "type": "usr", "min": 1}, "checks[0].type: unknown entity type 'usr'"),
        ({"kind": "unknown_values", "min": 2, "max": 1}, "checks[0].max: 1 is less than min (2)"),
        ({"kind": "row", "source": "log", "max": 1}, "checks[0].kind: unknown value 'row', did you mean 'rows'?"),
    ],
)
def test_wrong_checks_are_config_errors(
    tmp_path: Path, check: dict, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(tmp_path, check)
    assert main(["config", "check", str(tmp_path / "c.json"), "--root", str(tmp_path)]) == 2
    assert line in capsys.readouterr().err


def test_of_a_growing_log_a_file_counts(tmp_path: Path) -> None:
    """A night reads one file and the night before read three: what is compared is the rows of one."""
    (tmp_path / "log").mkdir()
    graph = config(
        sources={"log": {"path": "log/*.csv", "append_only": True}},
        relations=[relation(name="click", source="log", lhs=USER, rhs=PIN)],
    )
    checks = [{"kind": "rows", "source": "log", "min": 0.5, "max": 2}]
    (tmp_path / "c.json").write_text(json.dumps({"graph": graph, "model": MODEL, "checks": checks}))
    for day, rows, code in ((1, 8, 0), (2, 8, 0), (3, 8, 0), (4, 3, 65)):
        lines = "".join(f"u{row},p{row % 3}\n" for row in range(rows))
        (tmp_path / f"log/day-{day}.csv").write_text("user,pin\n" + lines)
        if day != 1:
            assert transra(tmp_path, "run") == code, day
