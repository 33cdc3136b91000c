"""What a nightly job meets: quiet days, logs still being written, full disks, huge ids, thousands of relations."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.engine import translated
from partitioning import GraphConfig, build_graph, plan_graph
from tests.partitioning.test_errors import USER, config, failure, log, relation
from tests.worlds.partitioning_reference import build, edges, ids

REPOSITORY = Path(__file__).resolve().parents[2]
QUIET = {"log": {"path": "log.parquet"}, "quiet": {"path": "quiet/*"}}


def quiet_config(**changes) -> dict:
    asks = {"name": "quiet", "source": "quiet", "where": "amount > 3", "weight": "amount", **changes}
    return config(sources=QUIET, relations=[relation(), relation(**asks)])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.csv", ""),
        ("q.csv", "user,pin,amount\n"),
        ("q.tsv", "user\tpin\tamount\n"),
        ("q.jsonl", ""),
        ("q.csv.gz", ""),
    ],
)
def test_an_empty_log_on_a_quiet_day(tmp_path, name, content):
    log().to_parquet(tmp_path / "log.parquet")
    (tmp_path / "quiet").mkdir()
    (tmp_path / "quiet" / name).write_text(content)
    graph = build(quiet_config(allow_empty=True), tmp_path, tmp_path / "with")
    assert [relation.edges["train"] for relation in graph.relations] == [3, 0]
    error = failure(tmp_path, quiet_config())
    assert type(error) is DataError and "set allow_empty" in str(error)


def test_an_empty_parquet_log(tmp_path):
    log().to_parquet(tmp_path / "log.parquet")
    (tmp_path / "quiet").mkdir()
    log(amount=[5, 5, 5])[:0].to_parquet(tmp_path / "quiet/q.parquet")
    graph = build(quiet_config(allow_empty=True), tmp_path, tmp_path / "with")
    assert [relation.edges["train"] for relation in graph.relations] == [3, 0]


def test_an_empty_list_of_consent_is_refused(tmp_path):
    log().to_parquet(tmp_path / "log.parquet")
    (tmp_path / "quiet").mkdir()
    (tmp_path / "quiet/q.csv").touch()
    consent = {"source": "quiet", "type": "user", "column": "user"}
    raw = config(sources=QUIET, relations=[relation(domain="offsite", consent=consent, allow_empty=True)])
    assert "q.csv: the file is empty" in str(failure(tmp_path, raw))


def test_only_empty_logs_make_an_empty_graph(tmp_path):
    log()[:0].to_parquet(tmp_path / "log.parquet")
    graph = build(config(partitions=2, relations=[relation(allow_empty=True)]), tmp_path, tmp_path / "graph")
    assert graph.entities == 0 and graph.edges("train") == 0


@pytest.mark.parametrize("change", ["grows", "is replaced", "vanishes"])
def test_a_source_that_changes_while_it_is_read(tmp_path, change):
    path = tmp_path / "log.parquet"
    log().to_parquet(path)

    def meddle(step: str, fraction: float) -> None:
        if step == "entities" and fraction == 0.0:
            if change == "grows":
                log(user=[4, 5, 6]).to_parquet(path)
            elif change == "is replaced":
                log().to_parquet(tmp_path / "other")
                os.replace(tmp_path / "other", path)
            else:
                path.unlink()

    (tmp_path / "graph").mkdir()
    with pytest.raises(DataError, match="log.parquet: changed while it was read; run again"):
        build_graph(GraphConfig.model_validate(config()), tmp_path, tmp_path / "graph", meddle)
    assert list((tmp_path / "graph").rglob(".spill")) == []


@pytest.mark.parametrize("megabytes", [1, 3, 7])
def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path, megabytes):
    """As when the disk fills half-way: while ids, spilled edges or buckets are written."""
    count = 1_000_000
    frame = pd.DataFrame({"user": range(count), "pin": [i % 9 for i in range(count)], "ts": 1})
    frame.to_parquet(tmp_path / "log.parquet")
    script = (
        "import resource, sys; from pipeline.cli import main; size = int(sys.argv[1]) << 20;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)); sys.exit(main(sys.argv[2:]))"
    )
    (tmp_path / "c.json").write_text(f'{{"graph": {GraphConfig(**config()).model_dump_json()}, "model": {{}}}}')
    command = [sys.executable, "-c", script, str(megabytes), "partition", str(tmp_path / "c.json")]
    options = ["--root", str(tmp_path), "--set", "model.operator=transr"]
    done = subprocess.run([*command, *options], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 73, done.stderr
    assert done.stderr.count("\n") == 1 and "the disk is full" in done.stderr
    assert done.stdout.startswith("partition: at most disk") and done.stdout.count("\n") == 1, "its plan alone"
    assert {path.name for path in (tmp_path / "runs/c").glob("2*/*")} <= {"log.jsonl"}


def test_a_signal_during_a_query_is_an_interruption():
    with pytest.raises(KeyboardInterrupt), translated():
        raise RuntimeError("Query interrupted")


def test_a_hub_cap_is_part_of_the_plan(tmp_path):
    log().iloc[[0] * 200_000].to_parquet(tmp_path / "log.parquet")
    capped = config(partitions=16, relations=[relation(lhs={**USER, "max_degree": 1})])
    plans = [plan_graph(GraphConfig.model_validate(raw), tmp_path) for raw in (config(partitions=16), capped)]
    assert plans[1].memory_bytes > plans[0].memory_bytes


def test_an_id_of_a_megabyte(tmp_path):
    long = "x" * 1_000_000
    log(user=["a", long, "b"]).to_parquet(tmp_path / "log.parquet")
    graph = build(config(partitions=2, write_names=True), tmp_path, tmp_path / "graph")
    assert long in sum(ids(tmp_path / "graph", graph, "user"), [])


def test_odd_ids_stay_apart(tmp_path):
    odd = ["a\tb", '"q"', "'", "nul\0x", "nul", "😀", "", "\n", "é", "e\u0301", " a", "a", "007", "7"]
    log_of = pd.DataFrame({"user": odd, "pin": odd, "ts": 1})
    log_of.to_parquet(tmp_path / "log.parquet")
    graph = build(config(partitions=2, write_names=True), tmp_path, tmp_path / "graph")
    assert edges(tmp_path / "graph") == sorted(("train", "click", id, id) for id in odd)
    assert graph.entity_type("user").count == len(odd)
    names = [json.loads((tmp_path / "graph" / f"entity_names_user_{part}.json").read_text()) for part in range(2)]
    assert names == ids(tmp_path / "graph", graph, "user")


def test_ten_thousand_relations(tmp_path):
    names = [f"r{i % 10_000:05}" for i in range(30_000)]
    pd.DataFrame({"user": range(30_000), "pin": 1, "ts": 1, "kind": names}).to_parquet(tmp_path / "log.parquet")
    raw = config(partitions=2, relations=[relation(name=None, relation_column="kind")])
    graph = build(raw, tmp_path, tmp_path / "graph")
    assert [r.name for r in graph.relations] == sorted(set(names))
    assert all(r.edges["train"] == 3 for r in graph.relations)


def test_a_broken_condition_is_found_where_there_are_rows(tmp_path):
    log().to_parquet(tmp_path / "log.parquet")
    (tmp_path / "quiet").mkdir()
    (tmp_path / "quiet/q.csv").write_text("user,pin,amount\n1,a,2\n")
    assert type(failure(tmp_path, quiet_config(where="amuont > 3"))) is ConfigError
