"""Repeated events as weights, their decay, and inverse relations."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchbiggraph.graph_storages import FileEdgeStorage

from artifacts.formats.graph import SPLITS, Side, edge_path
from partitioning.buckets.bucket_edges import sum_repeats
from partitioning.edges.key import KeyLayout
from partitioning.events.weights import UNIT
from tests.partitioning.test_errors import PIN, USER, check, config, failure, problems, relation
from tests.worlds.partitioning_reference import build, edges, weighted_edges

DAY = 86_400


def write(root, rows: list[tuple]) -> None:
    pd.DataFrame(rows, columns=["user", "pin", "ts", "amount"]).to_parquet(root / "log.parquet")


def graph_of(root, **changes) -> dict:
    raw = config(relations=[relation(**changes)])
    build(raw, root, root / "graph")
    return weighted_edges(root / "graph")


def test_repeats_become_one_edge_with_their_sum(tmp_path):
    write(tmp_path, [(1, "a", 0, 2.5), (1, "a", 5, 0.25), (2, "a", 5, 1.0)])
    found = graph_of(tmp_path, weight="amount")
    assert found == {("train", "click", "1", "a"): 2.75, ("train", "click", "2", "a"): 1.0}


def test_a_weight_halves_with_every_half_life(tmp_path):
    write(tmp_path, [(1, "a", 0, 1.0), (2, "a", 3 * DAY, 1.0), (3, "a", 9 * DAY, 1.0)])
    found = graph_of(tmp_path, weight="1", half_life_days=3)
    assert [found["train", "click", user, "a"] for user in "123"] == [0.125, 0.25, 1.0]


def test_times_outside_the_relation_do_not_age_it(tmp_path):
    write(tmp_path, [(1, "a", 0, 1.0), (2, "a", DAY, 1.0), (3, "a", 9_000_000_000, 1.0)])
    found = graph_of(tmp_path, weight="1", half_life_days=1, where="user < 3")
    assert sorted(found.values()) == [0.5, 1.0]


def test_age_counts_from_the_end_of_training(tmp_path):
    write(tmp_path, [(1, "a", 0, 1.0), (2, "a", DAY, 1.0), (3, "a", 3 * DAY, 1.0)])
    raw = config(relations=[relation(weight="1", half_life_days=1)])
    build({**raw, "split": {"time": {"valid_from": DAY, "test_from": 2 * DAY}}}, tmp_path, tmp_path / "graph")
    assert sorted(weighted_edges(tmp_path / "graph").values()) == [0.5, 1.0, 1.0]


def test_an_edge_belongs_to_its_first_split(tmp_path):
    write(tmp_path, [(1, "a", 1, 1), (1, "a", 11, 1), (1, "b", 11, 1), (1, "b", 21, 1), (1, "c", 21, 1)])
    raw = config(relations=[relation(weight="1")])
    split = {"time": {"valid_from": 10, "test_from": 20}}
    graph = build({**raw, "split": split}, tmp_path, tmp_path / "graph")
    assert [edge[::3] for edge in edges(tmp_path / "graph")] == [("test", "c"), ("train", "a"), ("valid", "b")]
    assert [graph.relations[0].edges[s] for s in SPLITS] == [1, 1, 1] and graph.relations[0].weighted


def test_relations_without_weight_keep_their_repeats(tmp_path):
    write(tmp_path, [(1, "a", 1, 1), (1, "a", 2, 1)])
    raw = config(relations=[relation(), relation(name="often", weight="1")])
    build(raw, tmp_path, tmp_path / "graph")
    assert [edge[1] for edge in edges(tmp_path / "graph")] == ["click", "click", "often"]
    assert len(FileEdgeStorage(str(edge_path(tmp_path / "graph", "train"))).load_edges(0, 0)) == 3


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 3), st.integers(1, 9)), max_size=30))
def test_sums_are_those_of_pandas(rows):
    layout, columns = KeyLayout.of(2, 4, 4), ["rel", "lhs", "rhs", "units"]
    keys = np.array([(rel << 4) | (lhs << 2) | rhs for rel, lhs, rhs, _ in rows], np.uint64)
    units = np.array([row[3] for row in rows], np.int64)
    keys, units, _ = sum_repeats(keys, units, layout.relation(keys) == 1)
    assert (keys[1:] >= keys[:-1]).all()
    found = sorted(zip(layout.relation(keys), *(layout.offsets(side, keys) for side in Side), units, strict=True))
    frame = pd.DataFrame(rows, columns=columns)
    kept = [tuple(row) for row in frame[frame.rel == 0].itertuples(index=False)]
    sums = frame[frame.rel == 1].groupby(columns[:3], as_index=False).units.sum()
    assert found == sorted(kept + [tuple(row) for row in sums.itertuples(index=False)])


def test_threads_do_not_change_sums(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(int(u), f"p{p}", int(t), float(a)) for u, p, t, a in rng.random((20_000, 4)) * [20, 20, 9 * DAY, 1] + 0.01]
    for name, order, threads in (("a", 1, 1), ("b", -1, 2)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, rows[::order])
        raw = config(relations=[relation(weight="amount", half_life_days=2)], threads=threads)
        build(raw, tmp_path / name, tmp_path / name / "graph")
    path = "graph/edges/train/edges_0_0.h5"
    assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_an_inverse_turns_the_edges_around_and_shares_their_split(tmp_path):
    write(tmp_path, [(user, f"p{pin}", 1, 1) for user in range(20) for pin in range(20)])
    raw = config(relations=[relation(inverse="clicked_by")], split={"random": {"valid": 0.2, "test": 0.2}})
    build(raw, tmp_path, tmp_path / "graph")
    found = edges(tmp_path / "graph")
    there = sorted((split, lhs, rhs) for split, name, lhs, rhs in found if name == "click")
    back = sorted((split, rhs, lhs) for split, name, lhs, rhs in found if name == "clicked_by")
    assert there == back and len(there) == 400


@pytest.mark.parametrize("amount", [0.0, -1.0, None, float("nan"), float("inf")])
def test_a_weight_that_is_not_positive(tmp_path, amount):
    write(tmp_path, [(1, "a", 0, 2.5), (2, "a", 0, amount)])
    error = failure(tmp_path, config(relations=[relation(weight="amount")]))
    check(error, type(error), "log.parquet, row 2: graph.relations[0].weight is", "expected a positive number")


def test_a_broken_weight(tmp_path):
    write(tmp_path, [(1, "a", 0, 1.0)])
    error = failure(tmp_path, config(relations=[relation(weight="amuont * 2")]))
    check(error, type(error), "graph.relations[0].weight: ", "amuont")


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"half_life_days": 3}, ("relations", 0, "half_life_days"), "no meaning without weight"),
        ({"inverse": "click"}, ("relations", 0, "inverse"), "already"),
        ({"name": None, "relation_column": "x", "inverse": "y"}, ("relations", 0, "inverse"), "with a name"),
    ],
)
def test_contradictions(changes, path, message):
    assert any(at == path and message in text for at, text in problems(config(relations=[relation(**changes)])))


def test_columns_may_have_any_name(tmp_path):
    names = ["rel", "relation", "relation_name", "id", "split"]
    pd.DataFrame({name: [f"{name}{i}" for i in range(3)] for name in names}).to_parquet(tmp_path / "log.parquet")
    ends = {"lhs": {**USER, "column": "rel"}, "rhs": {**PIN, "column": "id"}}
    raw = config(sources={"log": {"path": "log.parquet"}})
    by_column = {"source": "log", **ends, "relation_column": "relation_name", "where": "id <> 'id0' AND split <> ''"}
    build({**raw, "relations": [by_column]}, tmp_path, tmp_path / "graph")
    assert [edge[1:] for edge in edges(tmp_path / "graph")] == [
        (f"relation_name{i}", f"rel{i}", f"id{i}") for i in (1, 2)
    ]


def test_a_unit_is_exact_in_float32():
    assert np.float32(1 / UNIT) * UNIT == 1
