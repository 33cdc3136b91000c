"""The graph that partitioning builds: against a pandas reference, PBG's own readers, and itself."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchbiggraph.graph_storages import FileEdgeStorage, FileEntityStorage, FileRelationTypeStorage

from artifacts.formats.graph import SPLITS, Side, edge_path
from partitioning import GraphConfig, plan_graph
from partitioning.edges.grid import Grid
from partitioning.edges.key import KeyLayout, Keys, mix, scramble_, unmix, unscramble_
from tests.worlds.ledger_world import assert_same_bytes
from tests.worlds.partitioning_reference import build, edges, ids, partition_of, world, world_edges

SHARED = Path(__file__).parents[3] / "shared/data"

rows = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from(["p1", "p2", "é", "a,b", "'x'"]),
        st.sampled_from(["click", "visit", "hide"]),
        st.sampled_from(["ios", "web"]),
        st.integers(0, 99),
    ),
    min_size=1,
    max_size=40,
)


def write_world(root: Path, events: list[tuple], consented: set[int]) -> pd.DataFrame:
    frame = pd.DataFrame(events, columns=["user", "pin", "action", "device", "ts"])
    frame.to_parquet(root / "events.parquet")
    people = [(user, user in consented) for user in range(13)]
    pd.DataFrame(people, columns=["user", "opted_in"]).to_csv(root / "people.csv", index=False)
    return frame


def random_events(count: int, seed: int = 0) -> list[tuple]:
    rng = np.random.default_rng(seed)
    actions, devices = ["click", "visit", "hide"], ["ios", "web"]
    return [
        (int(u), f"p{p}", actions[a], devices[d], int(t))
        for u, p, a, d, t in rng.integers(0, [13, 50, 3, 2, 100], (count, 5))
    ]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=rows, consented=st.sets(st.integers(0, 12)), partitions=st.sampled_from([1, 3]))
def test_edges_are_those_of_the_reference(tmp_path_factory, events, consented, partitions):
    root = tmp_path_factory.mktemp("world")
    frame = write_world(root, events, consented)
    if not (frame.ts < 90).any():
        return  # an empty graph is an error, tested elsewhere
    split = {"time": {"valid_from": 50, "test_from": 70, "until": 90}}
    graph = build(world(partitions, split), root, root / "graph")
    assert edges(root / "graph") == world_edges(frame, consented, 50, 70, 90)
    for entity_type in graph.entity_types:
        for part, names in enumerate(ids(root / "graph", graph, entity_type.name)):
            assert all(partition_of(name, entity_type.partitions) == part for name in names)
    train = [e.ts for e in frame.itertuples() if e.ts < 50]
    assert graph.window == ((min(train), max(train)) if train else (None, None))


def test_pbg_reads_the_files(tmp_path):
    write_world(tmp_path, random_events(300), {1, 2, 3})
    directory = tmp_path / "graph"
    graph = build({**world(2, {}), "write_names": True}, tmp_path, directory)
    storage, entities = FileEdgeStorage(str(edge_path(directory, "train"))), FileEntityStorage(str(directory))
    relations = FileRelationTypeStorage(str(directory)).load_names()
    assert FileRelationTypeStorage(str(directory)).load_count() == len(relations) == len(graph.relations)
    names = {}
    for entity_type in graph.entity_types:
        for part, count in enumerate(entity_type.counts):
            names[entity_type.name, part] = entities.load_names(entity_type.name, part)
            assert entities.load_count(entity_type.name, part) == count == len(names[entity_type.name, part])
    found = []
    for i in range(2):
        for j in range(2):
            bucket = storage.load_edges(i, j)
            for lhs, rhs, rel in zip(
                bucket.lhs.tensor.tolist(), bucket.rhs.tensor.tolist(), bucket.rel.tolist(), strict=True
            ):
                relation = graph.relations[rel]
                found.append(("train", relations[rel], names[relation.lhs, i][lhs], names[relation.rhs, j][rhs]))
    assert sorted(found) == edges(directory)


def test_the_bytes_depend_on_neither_threads_nor_row_order(tmp_path):
    events = random_events(5000)
    for name, threads, order in (("a", 1, 1), ("b", 2, -1)):
        (tmp_path / name).mkdir()
        write_world(tmp_path / name, events[::order], {1, 2})
        split = {"random": {"valid": 0.1, "test": 0.1}}
        build({**world(3, split), "threads": threads}, tmp_path / name, tmp_path / name / "graph")
    assert_same_bytes(tmp_path / "a/graph", tmp_path / "b/graph")


def test_a_random_split_has_its_fractions_and_keeps_copies_together(tmp_path):
    events = random_events(4000)
    write_world(tmp_path, events + events, {1})
    graph = build(world(1, {"random": {"valid": 0.2, "test": 0.1}}), tmp_path, tmp_path / "graph")
    found = edges(tmp_path / "graph")
    where = {}
    for split, *edge in found:
        assert where.setdefault(tuple(edge), split) == split
    share = {split: sum(s == split for s in where.values()) / len(where) for split in SPLITS}
    assert share["valid"] == pytest.approx(0.2, abs=0.04) and share["test"] == pytest.approx(0.1, abs=0.04)
    assert sum(graph.edges(split) for split in SPLITS) == len(found)


def test_a_source_can_be_a_split_and_a_relation_can_have_several_sources(tmp_path):
    for split, line in (("train", "a r b\nb s c"), ("valid", "a s c"), ("test", "c r 007")):
        (tmp_path / f"{split}.tsv").write_text(line.replace(" ", "\t") + "\n")
    graph = build(triples({s: {"path": f"{s}.tsv", "split": s} for s in SPLITS}), tmp_path, tmp_path / "graph")
    assert edges(tmp_path / "graph") == sorted(
        [("train", "r", "a", "b"), ("train", "s", "b", "c"), ("valid", "s", "a", "c"), ("test", "r", "c", "007")]
    )
    assert [relation.name for relation in graph.relations] == ["r", "s"]
    statistics = json.loads((tmp_path / "graph/statistics.json").read_text())
    assert statistics["entities"]["thing"]["cold"] == 1
    assert statistics["relations"][0]["distinct_lhs"] == 2 and statistics["relations"][1]["distinct_rhs"] == 1


def triples(sources: dict) -> dict:
    return {
        "sources": {name: {"columns": ["h", "r", "t"], **source} for name, source in sources.items()},
        "entities": {"thing": {}},
        "relations": [
            {
                "relation_column": "r",
                "source": list(sources),
                "lhs": {"type": "thing", "column": "h"},
                "rhs": {"type": "thing", "column": "t"},
            }
        ],
    }


def test_formats_hive_partitions_and_timestamps(tmp_path):
    for day, name in (("2026-01-01", "a"), ("2026-01-02", "b")):
        (tmp_path / f"log/day={day}").mkdir(parents=True)
        text = f'{{"u": 1, "p": "{name}", "t": "{day}T12:00:00Z"}}\n'
        (tmp_path / f"log/day={day}/x.jsonl").write_text(text)
    config = {
        "sources": {"log": {"path": "log/**/*.jsonl", "time_column": "t"}},
        "entities": {"u": {}, "p": {}, "day": {}},
        "relations": [
            {"name": "saw", "source": "log", "lhs": {"type": "u", "column": "u"}, "rhs": {"type": "p", "column": "p"}},
            {
                "name": "on",
                "source": "log",
                "lhs": {"type": "p", "column": "p"},
                "rhs": {"type": "day", "column": "day"},
            },
        ],
        "split": {"time": {"valid_from": "2026-01-02", "test_from": "2026-01-03"}},
    }
    graph = build(config, tmp_path, tmp_path / "graph")
    assert ("valid", "on", "b", "2026-01-02") in edges(tmp_path / "graph")
    assert graph.window == (1767268800, 1767268800)


def test_consent_is_counted_and_stated(tmp_path):
    events = [(1, "p1", "visit", "ios", 1), (2, "p1", "visit", "ios", 2), (2, "p2", "click", "web", 3)]
    write_world(tmp_path, events, {2})
    graph = build(world(1, {}), tmp_path, tmp_path / "graph")
    assert [e for e in edges(tmp_path / "graph") if e[1] == "visit"] == [("train", "visit", "2", "p1")]
    assert graph.consent == {"visit": "source people, user in column user where opted_in"}
    statistics = json.loads((tmp_path / "graph/statistics.json").read_text())
    assert statistics["without_consent"] == {"visit": 1}


def test_bucket_files_are_contiguous(tmp_path):
    write_world(tmp_path, random_events(50), set())
    build(world(1, {}), tmp_path, tmp_path / "graph")
    with h5py.File(tmp_path / "graph/edges/train/edges_0_0.h5") as file:
        assert file.attrs["format_version"] == 1
        for name in ("lhs", "rhs", "rel"):
            assert file[name].dtype == np.uint8 and file[name].chunks is None
    with h5py.File(tmp_path / "graph/edges/test/edges_0_0.h5") as file:
        assert len(file["rel"]) == 0


def shuffle_(keys: Keys, seed: int) -> None:
    scramble_(keys, seed)
    keys.sort()
    unscramble_(keys, seed)


@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(0, 2**32))
def test_shuffling_keeps_the_keys(values, seed):
    keys = np.array(values, np.uint64)
    assert (unmix(mix(keys)) == keys).all()
    shuffled = keys.copy()
    shuffle_(shuffled, seed)
    assert sorted(shuffled.tolist()) == sorted(values)


def test_shuffling_leaves_no_order():
    keys = np.arange(100_000, dtype=np.uint64)
    shuffle_(keys, 0)
    assert abs(np.corrcoef(np.arange(100_000), keys.astype(float))[0, 1]) < 0.02


@given(st.integers(1, 2**20), st.integers(1, 2**22), st.integers(1, 2**22))
def test_a_key_holds_an_edge(relations, lhs_count, rhs_count):
    layout = KeyLayout.of(relations, lhs_count, rhs_count)
    rel, lhs, rhs = relations - 1, lhs_count - 1, rhs_count - 1
    keys = np.array([(rel << (layout.lhs_bits + layout.rhs_bits)) | (lhs << layout.rhs_bits) | rhs], np.uint64)
    assert [column[0] for column in layout.columns(keys)] == [lhs, rhs, rel]


@pytest.mark.parametrize(("heads", "tails"), [(1, 1), (1, 3), (4, 1), (2, 3)])
def test_a_grid_counts_its_buckets_row_by_row(heads, tails):
    grid = Grid(heads, tails, KeyLayout.of(1, 1, 1))
    buckets = list(grid)
    assert [grid.number(bucket) for bucket in buckets] == list(range(len(grid)))
    assert [bucket.lhs * tails + bucket.rhs for bucket in buckets] == list(range(heads * tails))
    for side in Side:
        lines = [grid.of_partition(side, part) for part in range(grid.partitions(side))]
        assert sorted(bucket for line in lines for bucket in line) == buckets
        assert all(side.pick(*bucket) == part for part, line in enumerate(lines) for bucket in line)


def test_the_plan_counts_rows(tmp_path):
    write_world(tmp_path, random_events(1000), set())
    plan = plan_graph(GraphConfig.model_validate(world(1, {})), tmp_path)
    assert plan.edges == 2000 and plan.disk_bytes > 0 and plan.memory_bytes > 0


def test_importing_is_light():
    code = "import sys, partitioning; print([m for m in ('duckdb', 'pyarrow', 'h5py', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert out.stdout.strip() == "[]", out.stderr


def test_building_does_not_import_pandas(tmp_path):
    """Several of Arrow's functions do, for a tenth of a second each time a graph is built."""
    write_world(tmp_path, random_events(300), {1, 2, 3})
    config = {**world(2, {"random": {"valid": 0.1, "test": 0.1}}), "write_names": True}
    config["entities"] = {name: {**entity, "min_degree": 2} for name, entity in config["entities"].items()}
    (tmp_path / "graph").mkdir()
    code = (
        "import json, sys; from pathlib import Path; from partitioning import GraphConfig, build_graph; "
        "config, root = GraphConfig.model_validate(json.loads(sys.argv[1])), Path(sys.argv[2]); "
        "build_graph(config, root, root / 'graph', lambda step, done: None); sys.exit('pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", code, json.dumps(config), str(tmp_path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "graph/graph.json").exists()


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not on this machine")
def test_fb15k237(tmp_path):
    sources = {s: {"path": f"kge_fb15k237/{s}.tsv.gz", "split": s} for s in SPLITS}
    graph = build({**triples(sources), "partitions": 2}, SHARED, tmp_path / "graph")
    assert [graph.edges(split) for split in SPLITS] == [272_115, 17_535, 20_466]
    assert len(graph.relations) == 237 and graph.entities == 14_541
    statistics = json.loads((tmp_path / "graph/statistics.json").read_text())
    assert statistics["entities"]["thing"]["cold"] == 14_541 - 14_505


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not on this machine")
def test_globo_clicks(tmp_path):
    user, article = {"type": "user", "column": "user_id"}, {"type": "article", "column": "article_id"}
    session = {"type": "session", "column": "session_idx"}
    config = {
        "partitions": 4,
        "sources": {"clicks": {"path": "globo_clicks/*.parquet", "time_column": "click_ts_ms", "time_unit": "ms"}},
        "entities": {"user": {}, "article": {}, "session": {}},
        "relations": [
            {"name": "click", "source": "clicks", "lhs": user, "rhs": article},
            {"name": "in_session", "source": "clicks", "lhs": session, "rhs": article},
        ],
        "split": {"time": {"valid_from": "2017-10-14", "test_from": "2017-10-15"}},
    }
    graph = build(config, SHARED, tmp_path / "graph")
    assert [entity_type.count for entity_type in graph.entity_types] == [322_897, 46_033, 1_048_594]
    # pandas counts as much: users who open an article again on a later day are not asked about it
    assert [graph.edges(split) for split in SPLITS] == [2 * 2_590_647, 94_554 + 95_216, 301_222 + 302_318]
