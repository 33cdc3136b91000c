"""What a dry run expects of a build, beside what the build took."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.graph import load_graph
from partitioning import GraphConfig, build_graph, expect_build, local_backend, plan_graph, source_files
from partitioning import expectation as module
from partitioning.buckets.counts import Counts, GraphCounts
from pipeline.cli import main
from tests.partitioning.test_errors import config, relation

EDGES = 400_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, generator = tmp_path_factory.mktemp("expectation"), np.random.default_rng(0)
    columns = {"user": generator.integers(0, 150_000, EDGES) * 7_919, "pin": generator.zipf(1.3, EDGES) % 90_000}
    pq.write_table(pa.table({**columns, "ts": np.arange(EDGES)}), root / "log.parquet")
    return root


@pytest.mark.parametrize("partitions", [1, 4])
def test_ids_and_disk_are_those_of_the_build(root: Path, monkeypatch: pytest.MonkeyPatch, partitions: int) -> None:
    raw = config(
        partitions=partitions, relations=[relation(name=name, where=f"ts % 2 = {at}") for at, name in enumerate("ab")]
    )
    section, seen = GraphConfig.model_validate(raw), []
    monkeypatch.setattr(module, "_timed", lambda directory, edges, threads: seen.append(edges) or edges / 1e6)
    files = source_files(section, root)
    plan = plan_graph(section, root, files)
    expected = expect_build(section, files, plan)
    (graph_dir := root / f"graph-{partitions}").mkdir()
    build_graph(section, root, graph_dir, lambda step, done: None)
    ids = sum(entity_type.count for entity_type in load_graph(graph_dir).entity_types)
    assert expected.ids == pytest.approx(ids, rel=0.1)
    names, buckets = (sum(p.stat().st_size for p in (graph_dir / of).rglob("*.*")) for of in ("entities", "edges"))
    took = names + max(buckets, 8 * EDGES)  # keys in the spill, then buckets
    assert took == pytest.approx(expected.disk_bytes, rel=0.25)
    assert expected.disk_bytes <= plan.disk_bytes and expected.memory_bytes <= section.memory_bytes
    assert seen == [50_000, 450_000] and expected.seconds >= EDGES / 1e6


def test_files_of_ends_are_expected_where_flags_do_not_fit(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column names relations, of which the config alone says one."""
    monkeypatch.setattr(module, "_timed", lambda directory, edges, threads: edges / 1e6)
    table = pq.read_table(root / "log.parquet")
    pq.write_table(
        table.append_column("kind", pa.array(table["ts"].to_numpy() % 13).cast(pa.string())), tmp_path / "log.parquet"
    )
    (one,) = config()["relations"]
    by_column = {"relation_column": "kind", **{key: value for key, value in one.items() if key != "name"}}
    section = GraphConfig.model_validate(config(partitions=2, relations=[by_column]))
    files, ends = source_files(section, tmp_path), []
    plan = plan_graph(section, tmp_path, files)
    close = Counts.close

    def weighed(counts: Counts, *given: Any) -> GraphCounts:
        ends.append(sum(path.stat().st_size for path in tmp_path.rglob("ends-*")))
        return close(counts, *given)

    without = expect_build(section, files, plan)
    fitting = section.memory_bytes // (13 * without.ids)  # at this share all flags would fit but for a few
    for place in (module, local_backend):
        monkeypatch.setattr(place, "FLAGS_SHARE", fitting + 1)
    expected = expect_build(section, files, plan)
    monkeypatch.setattr(Counts, "close", weighed)
    (graph_dir := tmp_path / "graph").mkdir()
    build_graph(section, tmp_path, graph_dir, lambda step, done: None)
    assert ends[0] > 0
    took = ends[0] + sum(p.stat().st_size for of in ("entities", "edges") for p in (graph_dir / of).rglob("*.*"))
    assert without.disk_bytes < took <= expected.disk_bytes < 1.5 * took


def test_a_dry_run_says_seconds_and_makes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "run.json").write_text(json.dumps({"graph": config()}))
    line = ["partition", str(root / "run.json"), "--root", str(root), "--dry-run", "--json"]
    assert main(line) == 0
    (stage,) = json.loads(capsys.readouterr().out)["stages"]
    assert stage["expected"].keys() == {"disk_bytes", "memory_bytes", "seconds"} and min(stage["expected"].values()) > 0
    assert not list(root.rglob("graph/*"))


def test_ids_of_text_are_guessed(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,pin\n" + "".join(f"u{i},p\n" for i in range(400)))
    section = GraphConfig.model_validate(config(sources={"log": {"path": "log.csv"}}))
    files = source_files(section, tmp_path)
    plan = plan_graph(section, tmp_path, files)
    assert expect_build(section, files, plan).ids == 2 * int(plan.edges * 0.25)
