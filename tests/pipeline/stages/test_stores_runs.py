"""Runs on files of a store: the graph and the ranking of the same files on a disk, and nothing that stays."""

import gzip
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from artifacts.sources import stores as stores_module
from pipeline.cli import main
from pipeline.workspace.workspace import Run, Workspace
from tests.partitioning.test_errors import config, relation
from tests.pipeline.config.test_bounds import RANKER
from tests.worlds.ledger_world import assert_same_bytes
from tests.worlds.s3_server import SECRET, S3Server, set_environment

MODEL = {"operator": "transr", "dimension": 4, "epochs": 1, "workers": 1}
RANKED = {**RANKER, "arms": {"none": {"vectors": "none"}}, "bootstrap": 20}


def rows(day: int) -> pd.DataFrame:
    return pd.DataFrame([(n % 9, f"p{n % 5}", day * 1000 + n) for n in range(30)], columns=["user", "pin", "ts"])


def contents() -> dict[str, bytes]:
    """A log in three formats and hive partitions, beside what is no data; impressions by day."""
    found = {"json/_SUCCESS": b"", "csv/_temporary/0/x.csv.gz": b"cut"}
    for day in (1, 2):
        found[f"csv/day={day}/log.csv.gz"] = gzip.compress(rows(day).to_csv(index=False).encode())
        found[f"json/day={day}/log.jsonl"] = rows(day + 2).to_json(orient="records", lines=True).encode()
        found[f"parquet/day={day}/log.parquet"] = parquet(rows(day + 4))
        shown = {"user_id": [1, 2] * 20, "n": [1.0, 2, 3, 4] * 10, "click": [0, 1, 1, 0] * 10}
        times = [1_000_000 + day * 86_400 * k for k in range(40)]
        found[f"shown/day={day}/shown.parquet"] = parquet(pd.DataFrame({**shown, "ts": times}))
    return found


def parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


def write_config(root: Path, name: str, base: str, **changes) -> None:
    patterns = {"csv": "csv/**/*.csv.gz", "json": "json", "parquet": "parquet/day=*/*"}
    timed = {"time_column": "ts", "time_unit": "s"}
    sources = {name: {"path": f"{base}{pattern}", **timed, **changes} for name, pattern in patterns.items()}
    by_day = [
        relation(name=None, relation_column="day", source=["csv", "parquet"]),
        relation(name="view", source="json"),
    ]
    raw = {"graph": config(sources=sources, relations=by_day), "model": MODEL}
    ranker = {**RANKED, "impressions": f"{base}shown/day=?/*.parquet"}
    (root / f"{name}.json").write_text(json.dumps({**raw, "ranker": ranker}))


@pytest.fixture
def root(tmp_path: Path, s3: S3Server) -> Path:
    for name, content in contents().items():
        (tmp_path / "logs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "logs" / name).write_bytes(content)
        s3.put(f"logs/{name}", content)
    write_config(tmp_path, "local", "logs/")
    write_config(tmp_path, "stored", "s3://bucket/logs/")
    return tmp_path


def transra(root: Path, command: str, name: str, *more: str) -> int:
    return main([command, str(root / f"{name}.json"), "--root", str(root), *more])


def newest(root: Path, name: str) -> Run:
    return Workspace(root / "runs" / name).runs()[0]


def report(root: Path, name: str) -> dict:
    found = json.loads((newest(root, name).directory("rank") / "report.json").read_text())
    return {key: found[key] for key in ("rows", "windows")}


def test_a_run_is_that_of_the_same_files(root: Path) -> None:
    assert transra(root, "run", "local") == transra(root, "run", "stored") == 0
    one, other = (newest(root, name).directory("partition") for name in ("local", "stored"))
    for directory in (one, other):
        (directory / "stage.json").unlink()
    assert_same_bytes(one, other)
    assert report(root, "local") == report(root, "stored")


def test_what_is_up_to_date(root: Path, s3: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert transra(root, "run", "stored", "--dry-run") == 0
    assert not (root / "runs/stored/.stored").exists()
    assert transra(root, "run", "stored") == 0
    capsys.readouterr()
    assert transra(root, "run", "stored") == transra(root, "run", "stored", "--verify") == 0
    out = capsys.readouterr().out
    assert out.count("partition: up to date") == out.count("rank: up to date") == 2
    s3.put("logs/json/day=1/log.jsonl", rows(9).to_json(orient="records", lines=True).encode())
    assert transra(root, "status", "stored") == transra(root, "run", "stored", "--dry-run") == 0
    assert "partition: stale" in capsys.readouterr().out
    assert transra(root, "run", "stored") == 0
    assert len(Workspace(root / "runs/stored").runs()) == 2
    assert not (root / "runs/stored/.stored").exists()
    files = [path for path in (root / "runs/stored").rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in path.read_bytes() for path in files)


def test_a_night_of_an_append_only_log(root: Path, s3: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(root, "stored", "s3://bucket/logs/", append_only=True)
    assert transra(root, "run", "stored") == 0
    s3.put("logs/parquet/day=3/log.parquet", parquet(rows(20)))
    capsys.readouterr()
    assert transra(root, "run", "stored") == 0
    assert "(6 files were counted before)" in capsys.readouterr().out
    s3.put("logs/parquet/day=1/log.parquet", parquet(rows(21)))
    assert transra(root, "partition", "stored") == 65
    assert "is append_only and has counted it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s3: s3.put("logs/parquet/day=1/log.parquet", b"PAR1cutPAR0"), "is cut off"),
        (lambda s3: s3.put("logs/csv/day=1/log.csv.gz", b"no gzip at all"), "day=1/log.csv.gz"),
        (lambda s3: [s3.delete(f"logs/parquet/day={day}/log.parquet") for day in (1, 2)], "graph.sources.parquet.path"),
    ],
)
def test_bad_files_are_one_line_and_leave_nothing(
    root: Path, s3: S3Server, capsys: pytest.CaptureFixture[str], change, said: str
) -> None:
    change(s3)
    assert transra(root, "run", "stored") == 65
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert Workspace(root / "runs/stored").latest is None
    assert not (root / "runs/stored/.stored").exists()


def test_a_file_that_changes_meanwhile(
    root: Path, s3: S3Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = stores_module.Stores.fetch

    def changed(stores, paths) -> None:
        s3.put("logs/parquet/day=1/log.parquet", parquet(rows(30)))
        original(stores, paths)

    monkeypatch.setattr(stores_module.Stores, "fetch", changed)
    assert transra(root, "run", "stored") == 65
    assert "s3://bucket/logs/parquet/day=1/log.parquet: changed while it was read" in capsys.readouterr().err


def test_no_network(
    root: Path, s3: S3Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, "http://127.0.0.1:1")
    assert transra(root, "run", "stored") == 65
    error = capsys.readouterr().err
    assert "EndpointConnectionError" in error and error.count("\n") == 1 and SECRET not in error


def test_pseudonyms_and_copies_do_not_go_together(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = 'graph.ids={hash: "hmac-sha256", key_env: "KEY"}'
    assert main(["config", "check", str(root / "stored.json"), "--root", str(root), "--set", ids]) == 2
    error = capsys.readouterr().err
    assert "graph.sources.csv.path: with graph.ids" in error and "ranker.impressions: with graph.ids" in error


def test_a_password_in_a_config_is_refused_and_not_repeated(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(root, "stored", "s3://reader:hunter2@bucket/logs/")
    assert transra(root, "run", "stored") == 2
    error = capsys.readouterr().err
    assert "graph.sources.csv.path: a URL with a user" in error and "ranker.impressions: a URL with a user" in error
    assert "hunter2" not in error


def test_names_that_only_the_store_knows(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    override = "model.relation_weights={'1': 2}"
    assert main(["config", "check", str(root / "stored.json"), "--root", str(root), "--set", override]) == 0
    assert "not checked: " in capsys.readouterr().out
