"""`make bench-billion` at a tiny size: the whole main job, stage by stage, and it resumes."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import bench_billion, environment


@pytest.mark.slow
def test_a_tiny_billion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench_billion, "FILE_EDGES", 15_000)
    monkeypatch.setattr(bench_billion, "KEEP_FREE", 0)
    monkeypatch.setattr(environment, "OUT", tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["bench", "--edges", "40e3", "--dimension", "8", "--scratch", str(tmp_path)])
    ran = []
    run_stage = bench_billion.run_stage

    def killed_before_export(directory: Path, stage: str) -> dict:
        if stage == "export" and "export" not in ran:
            ran.append("export")
            raise KeyboardInterrupt
        ran.append(stage)
        return run_stage(directory, stage)

    monkeypatch.setattr(bench_billion, "run_stage", killed_before_export)
    with pytest.raises(KeyboardInterrupt):
        bench_billion.main()
    bench_billion.main()
    assert ran == ["partition", "train", "export", "export", "neighbors"], "what is done is not done again"
    found = json.loads((tmp_path / "out/billion.json").read_text())
    assert found["edges"] == 40_000 and found["stages"].keys() == {"log", *bench_billion.STAGES}
    assert {"disk_bytes", "memory_bytes", "seconds"} <= found["stages"]["partition"]["plan"].keys()
    assert all(found["stages"][stage]["peak_bytes"] > 0 for stage in bench_billion.STAGES)
    assert {"log", "buckets", "ids"} <= found["by_kind_per_edge"].keys()
    log = pq.read_table(tmp_path / "40000_8/log")
    assert len(log) == 40_000 and set(log["kind"].to_pylist()) == set(bench_billion.RELATIONS)
    assert "bytes an edge" in capsys.readouterr().out
