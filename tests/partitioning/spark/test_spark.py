"""A build on Spark makes the bytes that DuckDB makes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from partitioning import GraphConfig, GraphReport, build_graph, graph_problems
from tests.worlds.action_log import PIN, SPLITS, USER, log_config, write_log
from tests.worlds.ledger_world import assert_same_bytes
from tests.worlds.spark_session import spark_of_tests

UNTIL = {"time": {**SPLITS["time"]["time"], "until": 95}}
SEVENTHS = 1 / 7  # sums of which depend on their order


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One session for all builds: a build uses the one that the process has."""
    with spark_of_tests(tmp_path_factory.mktemp("spark")):
        yield


def built(root: Path, raw: dict, name: str, previous: Path | None = None) -> GraphReport:
    section = GraphConfig.model_validate(raw)
    assert list(graph_problems(section)) == []
    (root / name).mkdir()
    return build_graph(section, root, root / name, lambda *step: None, previous)


def both(root: Path, raw: dict, previous: Path | None = None, name: str = "") -> GraphReport:
    """Builds with both engines and compares."""
    report = built(root, raw, f"duckdb{name}", previous)
    assert built(root, {**raw, "engine": "spark"}, f"spark{name}", previous) == report
    assert_same_bytes(root / f"duckdb{name}", root / f"spark{name}")
    return report


def config(split: str, **click) -> dict:
    return log_config("*.parquet", UNTIL if split == "time" else SPLITS[split], **click)


def test_weights_and_a_published_map(tmp_path: Path) -> None:
    """With labels: of a table, and of the log, in which an id has several."""
    raw = config("time", weight="amount", half_life_days=0.0003, where="action <> 'save'")
    (tmp_path / "titles.csv").write_text("pin,title\na,Apple\nb,Ärger\nb,Zoo\nz,nobody's\n")
    raw["sources"]["titles"] = {"path": "titles.csv"}
    raw["entities"]["pin"] |= {"label": {"source": "titles", "column": "pin", "text": "title"}}
    raw["entities"]["user"] |= {"label": {"source": "log", "column": "user", "text": "action"}}
    for night in (1, 2):
        write_log(tmp_path / f"{night}.parquet", night, SEVENTHS)
        report = both(tmp_path, raw, tmp_path / "duckdb1" if night == 2 else None, str(night))
        assert report.labelled["pin"] == {"found": 2, "several": 1}
        assert report.labelled["user"]["several"] > 10


@pytest.mark.slow
def test_neither_times_nor_weights(tmp_path: Path) -> None:
    write_log(tmp_path / "1.parquet", 1, SEVENTHS)
    both(tmp_path, config("none"))


def every_feature(root: Path, night: int, split: str) -> dict:
    """A config with all that Spark can do, over files of several formats and types of ids; writes them, too."""
    write_log(root / f"{night}.parquet", night, SEVENTHS)
    log = pd.read_parquet(root / f"{night}.parquet")
    if night == 2:  # ids of another type than the night before
        log.astype({"user": "int32"}).to_parquet(root / "2.parquet")
    generator = np.random.default_rng(night)
    answers = pd.DataFrame({"who": generator.integers(0, 80, 90), "at": generator.integers(1, 50, 90)})
    answers.assign(said=generator.choice(["yes", "no"], 90)).to_csv(root / "people.csv", index=False)
    table = pd.DataFrame({"pin": [*"abcdefga"], "topic": [*"xyzxyzxz"]})
    table.to_csv(root / "topics.tsv", sep="\t", index=False)
    log.sample(40, random_state=1)[["user", "pin"]].astype({"user": "int64"}).to_parquet(root / "known.pq")
    forgotten = [("user", "1"), ("user", "nobody"), ("pin", "c"), ("topic", "y")]
    listed = pd.DataFrame(forgotten[: 2 + night], columns=["type", "id"])
    listed.to_csv(root / "gone.csv", index=False)
    topic = {"type": "topic", "column": "pin", "join": {"source": "topics", "column": "pin", "to": "topic"}}
    visit = {"source": "log", "lhs": USER, "rhs": PIN, "domain": "offsite", "where": "action IN ('click', 'Zoom')"}
    raw = config(split, weight="amount", half_life_days=0.0003, where="action <> 'save' OR amount > 1")
    raw["sources"] |= {
        "people": {"path": "people.csv", "time_column": "at", "time_unit": "s"},
        "topics": {"path": "topics.tsv"},
        "known": {"path": "known.pq", "format": "parquet"},
        "gone": {"path": "gone.csv"},
    }
    raw["entities"] = {"user": {"min_degree": 2}, "pin": {"partitions": 1}, "topic": {}}
    raw["relations"] += [
        {**visit, "name": "visit", "inverse": "visited_by"},
        {"name": "about", "source": "log", "lhs": {**USER, "max_degree": 2}, "rhs": topic, "weight": "1"},
        {"name": "new", "source": "log", "lhs": PIN, "rhs": {**USER, "max_degree": 3}},
    ]
    raw["relations"][-1]["without"] = {"source": "known", "columns": ["user", "pin"]}
    answer = {"column": "who", "answer": "said", "yes": ["yes"], "no": ["no"]}
    return raw | {"consent": {"source": "people", "type": "user", **answer}, "forget": {"source": "gone"}}


@pytest.mark.slow
def test_every_feature_over_two_nights(tmp_path: Path) -> None:
    report = both(tmp_path, every_feature(tmp_path, 1, "time"))
    assert report.without_consent["visit"] and report.removed["new"]["log"] and report.edges_left_out["max_degree"]
    assert report.edges_left_out["min_degree"] and report.forgotten["user"] == {"found": 1, "not_found": 1}
    again = both(tmp_path, every_feature(tmp_path, 2, "random"), tmp_path / "duckdb", "2")
    assert again.known["user"] and again.forgotten["topic"] == {"found": 1, "not_found": 0}
