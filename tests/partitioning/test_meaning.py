"""What the graph means: derived relations, hub caps, minimum degrees, forgotten entities, held-out edges."""

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from artifacts.errors import DataError
from artifacts.formats.graph import Graph, load_graph
from partitioning import GraphConfig, build_graph
from partitioning.buckets.statistics import balanced
from partitioning.thinning import min_degree
from tests.partitioning.test_errors import PIN, USER, check, config, failure, problems, relation
from tests.worlds.partitioning_meaning import meaning, meaning_config
from tests.worlds.partitioning_reference import build, edges, ids, partition_of, read_edges

NOBODY = {("user", "nobody")}
rows = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from("abcdef"), st.integers(0, 99), st.integers(1, 9)),
    min_size=1,
    max_size=60,
)
pairs = st.sets(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), min_size=1)
least = st.one_of(st.none(), st.integers(1, 4))


def write_meaning(root: Path, events: list, ads: set, forgotten: set) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = pd.DataFrame(events, columns=["user", "ad", "ts", "amount"])
    frame["user"] = frame.user.astype(str)
    table = pd.DataFrame(sorted(ads), columns=["ad", "advertiser"])
    frame.to_parquet(root / "events.parquet")
    table.to_csv(root / "ads.csv", index=False)
    pd.DataFrame(sorted(forgotten), columns=["type", "id"]).to_csv(root / "forgotten.csv", index=False)
    return frame, table


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    events=rows,
    ads=pairs,
    forgotten=st.sets(st.sampled_from([("user", "1"), ("ad", "a"), ("advertiser", "x")])),
    caps=st.fixed_dictionaries({"click lhs": least, "click rhs": least, "liked rhs": least}),
    least=st.fixed_dictionaries({"user": least, "ad": least, "advertiser": least}),
    partitions=st.sampled_from([1, 3]),
)
def test_the_graph_means_what_the_reference_means(tmp_path_factory, events, ads, forgotten, caps, least, partitions):
    root = tmp_path_factory.mktemp("meaning")
    frame, table = write_meaning(root, events, ads, forgotten | NOBODY)
    graph = build(meaning_config(partitions, caps, least), root, root / "graph")
    found = sorted((*edge, weight) for edge, weight in read_edges(root / "graph"))
    assert found == meaning(frame, table, forgotten, caps, least)
    for entity_type in graph.entity_types:
        names = ids(root / "graph", graph, entity_type.name)
        assert all(partition_of(id, partitions) == part for part, held in enumerate(names) for id in held)
        assert not {(entity_type.name, id) for held in names for id in held} & forgotten
        if least[entity_type.name]:
            in_edges = {end for split, name, *ends, _ in found for end in ends}
            assert {id for held in names for id in held} <= in_edges


def grown(root: Path, events: list, name: str, known: Path | None = None, forgotten=NOBODY, **least) -> Graph:
    write_meaning(root, events, {("a", "x")}, forgotten)
    (root / name).mkdir()
    section = GraphConfig.model_validate({"memory_limit": "1GB", **meaning_config(3, {}, least)})
    build_graph(section, root, root / name, lambda step, fraction: None, known)
    return load_graph(root / name)


def places(directory: Path, graph: Graph, type: str) -> dict[str, tuple[int, int]]:
    return {id: (part, at) for part, held in enumerate(ids(directory, graph, type)) for at, id in enumerate(held)}


def test_forgetting_moves_only_as_many_as_leave(tmp_path):
    events = [(user, "a", 1, 1) for user in range(60)]
    before = places(tmp_path / "old", grown(tmp_path, events, "old"), "user")
    gone = {("user", str(user)) for user in range(0, 60, 10)}
    graph = grown(tmp_path, [*events, (99, "a", 1, 1)], "new", tmp_path / "old", gone)
    after = places(tmp_path / "new", graph, "user")
    assert set(after) == (set(before) | {"99"}) - {id for _, id in gone}
    moved = [id for id in before if id in after and before[id] != after[id]]
    assert len(moved) <= len(gone)
    assert all(after[id][0] == before[id][0] and after[id][1] < before[id][1] for id in moved)
    assert len(set(after.values())) == len(after)
    assert {user for _, name, user, _ in edges(tmp_path / "new") if name == "click"} == set(after)


def test_known_ids_below_the_minimum_degree_keep_their_places(tmp_path):
    often = [(user, "a", ts, 1) for user in range(30) for ts in (1, 2)]
    before = places(tmp_path / "old", grown(tmp_path, often, "old", user=3), "user")
    today = [(5, "a", 1, 1), *[(user, "a", ts, 1) for user in range(40, 60) for ts in (1, 2)], (70, "a", 1, 1)]
    after = places(tmp_path / "new", grown(tmp_path, today, "new", tmp_path / "old", user=3), "user")
    assert {id: after[id] for id in before} == before
    assert set(after) - set(before) == {str(user) for user in range(40, 60)}
    assert {lhs for _, name, lhs, _ in edges(tmp_path / "new") if name == "click"} == {str(u) for u in range(40, 60)}


def test_what_is_left_out_is_counted(tmp_path):
    events = [(1, "a", 1, 1), (1, "a", 60, 1), (1, "b", 1, 1), (1, "c", 1, 1), (2, "a", 1, 1), (2, "c", 80, 1)]
    write_meaning(tmp_path, events, {("a", "x")}, NOBODY)
    raw = meaning_config(1, {"click lhs": 2}, {"user": 2})
    build(raw, tmp_path, tmp_path / "graph")
    statistics = json.loads((tmp_path / "graph/statistics.json").read_text())
    # Of click and clicked_by each: (1, a) again; one of 1's three. User 2 has one click and one like: enough.
    assert statistics["edges_left_out"] == {"seen_before": 3, "max_degree": 2, "min_degree": 0}
    assert sum(entity["cold"] for entity in statistics["entities"].values()) <= 1


def test_long_chains_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(min_degree, "PASSES", 3)
    rows = [(user, f"p{pin}", 1) for user in range(20) for pin in (user, user + 1)]
    pd.DataFrame(rows, columns=["user", "pin", "ts"]).to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(entities={"user": {"min_degree": 2}, "pin": {"min_degree": 2}}))
    check(error, DataError, "min_degree has not settled after 3 passes")


def test_a_minimum_degree_that_leaves_nothing(tmp_path):
    pd.DataFrame([(1, "a", 1)], columns=["user", "pin", "ts"]).to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(entities={"user": {"min_degree": 2}, "pin": {}}))
    check(error, DataError, "relation 'click' has no edges left after min_degree")


def test_a_type_to_forget_that_nobody_knows(tmp_path):
    write_meaning(tmp_path, [(1, "a", 1, 1)], {("a", "x")}, {("ad", "b"), ("usr", "1")})
    error = failure(tmp_path, {"memory_limit": "1GB", **meaning_config(1, {}, {})})
    check(error, DataError, "forgotten.csv, row 2: unknown entity type 'usr', did you mean 'user'?")


def test_names_are_those_of_the_ids_that_stay(tmp_path):
    write_meaning(tmp_path, [(1, "a", 1, 1), (1, "b", 1, 1), (2, "a", 1, 1)], {("z", "x")}, NOBODY)
    build({**meaning_config(1, {}, {"user": 2}), "write_names": True}, tmp_path, tmp_path / "graph")
    assert json.loads((tmp_path / "graph/entity_names_user_0.json").read_text()) == ["1"]
    assert (tmp_path / "graph/entity_count_user_0.txt").read_text() == "1\n"


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"relations": [relation(lhs={**USER, "join": {"source": "lgo", "column": "a", "to": "b"}}, rhs=PIN)]},
            ("relations", 0, "lhs", "join", "source"),
            "did you mean 'log'?",
        ),
        ({"forget": {"source": "lgo"}}, ("forget", "source"), "did you mean 'log'?"),
    ],
)
def test_unknown_sources(changes, path, message):
    assert any(at == path and message in text for at, text in problems(config(**changes)))


def test_balance_allows_what_chance_explains():
    assert balanced((10, 4, 7)) and balanced((100_000, 104_000)) and not balanced((100_000, 120_000))
    assert not balanced((0, 100)) and balanced((0, 0)) and balanced((7,))
