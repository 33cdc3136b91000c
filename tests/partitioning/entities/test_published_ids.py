"""The stable entity map: known ids keep their places across graphs."""

import json
from pathlib import Path

import pandas as pd
import pytest

from artifacts.errors import DataError
from artifacts.formats.graph import Graph, load_graph
from partitioning import GraphConfig, build_graph
from tests.partitioning.test_errors import config
from tests.worlds.ledger_world import assert_same_bytes
from tests.worlds.partitioning_reference import build, edges, ids, partition_of


def grown(root: Path, users: range, name: str, known: Path | None = None, **changes) -> Graph:
    """A graph in root/name where each of the users clicked two pins."""
    rows = [(user, f"p{pin}", 1) for user in users for pin in (user % 7, user % 11)]
    pd.DataFrame(rows, columns=["user", "pin", "ts"]).to_parquet(root / "log.parquet")
    (root / name).mkdir()
    section = GraphConfig.model_validate(config(partitions=3, **changes))
    build_graph(section, root, root / name, lambda step, fraction: None, known)
    return load_graph(root / name)


def test_known_ids_keep_their_places_and_new_ones_follow(tmp_path):
    first = grown(tmp_path, range(0, 100), "first")
    second = grown(tmp_path, range(50, 300), "second", tmp_path / "first")
    for type in ("user", "pin"):
        before, after = ids(tmp_path / "first", first, type), ids(tmp_path / "second", second, type)
        for part, (old, new) in enumerate(zip(before, after, strict=True)):
            assert new[: len(old)] == old and len(set(new)) == len(new)
            assert all(partition_of(id, 3) == part for id in new)
    assert second.entity_type("user").count == 300
    statistics = json.loads((tmp_path / "second/statistics.json").read_text())
    assert statistics["entities"]["user"]["absent"] == 50 and statistics["entities"]["user"]["cold"] == 0


def test_edges_do_not_depend_on_the_known_map(tmp_path):
    grown(tmp_path, range(0, 100), "first")
    grown(tmp_path, range(50, 300), "known", tmp_path / "first")
    grown(tmp_path, range(50, 300), "fresh")
    assert edges(tmp_path / "known") == edges(tmp_path / "fresh")


def test_the_same_map_gives_the_same_bytes(tmp_path):
    grown(tmp_path, range(0, 100), "first")
    for name, threads in (("a", 1), ("b", 2)):
        grown(tmp_path, range(50, 300), name, tmp_path / "first", threads=threads, split={"random": {"test": 0.1}})
    assert_same_bytes(tmp_path / "a", tmp_path / "b")


def test_a_type_may_be_new(tmp_path):
    grown(tmp_path, range(0, 10), "first")
    raw = config(partitions=3, entities={"user": {}, "pin": {}, "day": {}})
    day = {**raw["relations"][0], "name": "on", "rhs": {"type": "day", "column": "ts"}}
    (tmp_path / "second").mkdir()
    section = GraphConfig.model_validate({**raw, "relations": [*raw["relations"], day]})
    build_graph(section, tmp_path, tmp_path / "second", lambda step, fraction: None, tmp_path / "first")
    assert load_graph(tmp_path / "second").entity_type("day").count == 1


def test_another_number_of_partitions_is_refused(tmp_path):
    grown(tmp_path, range(0, 10), "first")
    (tmp_path / "second").mkdir()
    section = GraphConfig.model_validate(config(partitions=2))
    with pytest.raises(DataError, match=r"first: type 'user' has 3 partitions there and 2 in the config"):
        build_graph(section, tmp_path, tmp_path / "second", lambda step, fraction: None, tmp_path / "first")


def test_without_a_known_map_nothing_is_absent(tmp_path):
    grown(tmp_path, range(0, 10), "log")
    build(config(), tmp_path, tmp_path / "graph")
    statistics = json.loads((tmp_path / "graph/statistics.json").read_text())
    assert statistics["entities"]["user"]["absent"] == 0
