"""A log that grows by a file a day beside tables that stay, and builds of it one after another."""

import shutil
from pathlib import Path

import pandas as pd

from partitioning import GraphConfig, GraphReport, build_graph, graph_problems
from tests.partitioning.test_errors import PIN, USER, config, relation

SPLIT = {"time": {"valid_from": 70, "test_from": 85}}
EVENTS = ["user", "pin", "action", "ts", "amount"]


def ledger_config(**changes) -> dict:
    """Clicks and consented visits of a log that grows; people and a catalogue that stay as they are."""
    log = {"path": "log/*.parquet", "time_column": "ts", "time_unit": "s", "append_only": True}
    click = {"lhs": USER, "rhs": PIN, "allow_empty": True}
    kinds = {"name": None, "relation_column": "action", "lhs": PIN, "rhs": USER}
    visit = {"name": "visit", "domain": "offsite", "where": "action <> 'hide'"}
    base = {
        "partitions": 2,
        "sources": {"log": log, "people": {"path": "people.csv"}, "table": {"path": "table.csv"}},
        "entities": {"user": {}, "pin": {}, "topic": {"partitions": 1}},
        "relations": [
            relation(**click, name="seen"),
            relation(**click, **visit),
            relation(**{**click, **kinds}),
            relation(name="about", source="table", lhs=PIN, rhs={"type": "topic", "column": "topic"}),
        ],
        "consent": {"source": "people", "type": "user", "column": "user"},
        "split": SPLIT,
    }
    return config(**{**base, **changes})


def weighted_config(**changes) -> dict:
    """The same with weights on clicks, and an inverse."""
    raw = ledger_config(**changes)
    raw["relations"][0] = {**raw["relations"][0], "weight": "amount / 3", "inverse": "clicked_by"}
    return raw


def write_tables(root: Path) -> None:
    (root / "log").mkdir()
    pd.DataFrame({"user": range(0, 30, 2)}).to_csv(root / "people.csv", index=False)
    pd.DataFrame({"pin": list("abcz"), "topic": list("xyxy")}).to_csv(root / "table.csv", index=False)


def write_day(root: Path, name: str, rows: list[tuple]) -> None:
    pd.DataFrame(rows, columns=EVENTS).to_parquet(root / f"log/{name}.parquet")


def rows_of(day: int, users: range = range(20)) -> list[tuple]:
    return [(u, "abcdef"[(u * day) % 6], ("click", "hide")[u % 2], 7 * day + u, 0.1 + u / 7) for u in users]


def build(root: Path, raw: dict, name: str, known: str | None = None, whole: bool = False) -> GraphReport:
    """Builds root/name after root/known; `whole` hides the ledger of that, so that everything is counted."""
    section = GraphConfig.model_validate(raw)
    assert list(graph_problems(section)) == []
    before = root / known if known else None
    if before and whole:
        before = Path(shutil.copytree(before, root / f"{known}-before-{name}", ignore=shutil.ignore_patterns("ledger")))
    (root / name).mkdir()
    return build_graph(section, root, root / name, lambda step, fraction: None, before)


def assert_same_bytes(one: Path, other: Path) -> None:
    files, others = ({p.relative_to(d) for p in d.rglob("*") if p.is_file()} for d in (one, other))
    assert files == others
    for file in sorted(files):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


def two_days(root: Path) -> Path:
    """A root with two days in its log, counted as root/first."""
    write_tables(root)
    for day in (1, 2):
        write_day(root, f"day-{day}", rows_of(day))
    build(root, ledger_config(), "first")
    return root
