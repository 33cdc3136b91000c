"""What a dry run expects of a build, beside what the build took."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from artifacts.formats.graph import load_graph
from partitioning import (
    GraphConfig,
    build_graph,
    expect_build,
    expect_size,
    plan_graph,
    relation_names,
    source_files,
)
from partitioning import expectation as module
from partitioning.buckets.buckets import write_buckets
from partitioning.buckets.counts import Counts, GraphCounts
from partitioning.edges.spill import EdgeSpill
from partitioning.engines import local_backend
from partitioning.inspection.plan import MEMORY_PER_EDGE, MEMORY_PER_WEIGHTED_EDGE
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


def written(directory: Path, table: pa.Table, format: str) -> str:
    """A log, and the path that a config has for it."""
    if format == "parquet":
        pq.write_table(table, directory / "log.parquet")
    elif format == "csv":
        csv.write_csv(table, directory / "log.csv")
    elif format == "jsonl":
        table.to_pandas().to_json(directory / "log.jsonl", orient="records", lines=True)
    else:
        for name in table["kind"].unique().to_pylist():
            (directory / "log" / f"kind={name}").mkdir(parents=True)
            part = table.filter(pc.equal(table["kind"], name)).drop_columns("kind")
            pq.write_table(part, directory / "log" / f"kind={name}" / "part.parquet")
        return "log/*/part.parquet"
    return f"log.{format}"


@pytest.mark.parametrize("where", [None, "kind <> '12'"])
@pytest.mark.parametrize("format", ["parquet", "csv", "jsonl", "directories"])
def test_files_of_ends_are_expected_where_flags_do_not_fit(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, where: str | None
) -> None:
    """A column names relations, of which the config alone says one; in files of each kind, and not those left out."""
    monkeypatch.setattr(module, "_timed", lambda directory, edges, threads: edges / 1e6)
    table = pq.read_table(root / "log.parquet").slice(0, EDGES // 4)
    kinds = pa.array(table["ts"].to_numpy() % 13).cast(pa.string())
    path = written(tmp_path, table.append_column("kind", kinds), format)
    (one,) = config()["relations"]
    by_column = {"relation_column": "kind", **{key: value for key, value in one.items() if key != "name"}}
    by_column |= {"where": where} if where else {}
    section = GraphConfig.model_validate(config(partitions=2, sources={"log": {"path": path}}, relations=[by_column]))
    files, ends = source_files(section, tmp_path), []
    plan = plan_graph(section, tmp_path, files)
    close = Counts.close

    def weighed(counts: Counts, *given: Any) -> GraphCounts:
        ends.append(sum(path.stat().st_size for path in tmp_path.rglob("ends-*")))
        return close(counts, *given)

    without = expect_build(section, files, plan)
    relations = 13 - (where is not None)
    names = relation_names(section, files)
    assert len(names) == relations
    few, many = (section.memory_bytes // ((relations + add) * without.ids) for add in (0.5, -0.5))
    monkeypatch.setattr(module, "FLAGS_SHARE", few)
    assert expect_build(section, files, plan).disk_bytes == without.disk_bytes, "flags of so many relations fit"
    monkeypatch.setattr(module, "FLAGS_SHARE", many)
    expected = expect_build(section, files, plan)
    assert expected.disk_bytes - without.disk_bytes > 0
    monkeypatch.setattr(local_backend, "FLAGS_SHARE", section.memory_bytes)  # however many ids there are
    monkeypatch.setattr(Counts, "close", weighed)
    (graph_dir := tmp_path / "graph").mkdir()
    build_graph(section, tmp_path, graph_dir, lambda step, done: None)
    assert ends[0] > 0 and {relation.name for relation in load_graph(graph_dir).relations} == {*names}
    took = ends[0] + sum(p.stat().st_size for of in ("entities", "edges") for p in (graph_dir / of).rglob("*.*"))
    assert without.disk_bytes < took <= expected.disk_bytes
    assert expected.disk_bytes < 1.5 * took * 13 / relations, "beside rows that the condition leaves out"


def test_weights_are_expected_on_disk_and_in_memory(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few edges are repeated, so what weights take is theirs alone: 8 bytes beside a key, 4 in a bucket."""
    monkeypatch.setattr(module, "_timed", lambda directory, edges, threads: edges / 1e6)
    spilled = []

    def spied(spill: EdgeSpill, *given: Any) -> int:
        files = [path for name in ("keys", "units") for path in spill.directory.glob(f"{name}-*")]
        spilled.append(sum(path.stat().st_size for path in files))
        return write_buckets(spill, *given)

    monkeypatch.setattr(local_backend, "write_buckets", spied)
    for weight in ({}, {"weight": "1"}):
        section = GraphConfig.model_validate(config(relations=[relation(**weight)], threads=1))
        files = source_files(section, root)
        plan = plan_graph(section, root, files)
        expected = expect_build(section, files, plan)
        (graph_dir := tmp_path / f"graph-{len(weight)}").mkdir()
        build_graph(section, root, graph_dir, lambda step, done: None)
        names, buckets = (sum(p.stat().st_size for p in (graph_dir / of).rglob("*.*")) for of in ("entities", "edges"))
        assert expected.disk_bytes == pytest.approx(names + max(spilled[-1], buckets), rel=0.1)
        assert expected.disk_bytes <= plan.disk_bytes
    assert spilled == [8 * EDGES, 16 * EDGES]


def test_weighted_edges_take_more_memory_than_others() -> None:
    """As much as the plan counts that refuses a build: `plan.MEMORY_PER_WEIGHTED_EDGE`."""
    edges, took = 10_000_000, []
    for weight in ({}, {"weight": "1"}):
        section = GraphConfig.model_validate(config(relations=[relation(**weight)], threads=1, memory_limit="8GB"))
        took.append(expect_size(section, {"user": 1000, "pin": 1000}, {"user": 1, "pin": 1}, edges, 1).memory_bytes)
    assert took[1] - took[0] == edges * (MEMORY_PER_WEIGHTED_EDGE - MEMORY_PER_EDGE) > 0


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
