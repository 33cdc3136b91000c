"""`make bench-rank-processes` at a tiny size: log, namespaces where they can be made, trainings and table."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import environment
from benchmarks.ranking import bench_rank_processes


@pytest.mark.slow
def test_a_tiny_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(environment, "OUT", tmp_path / "out")
    monkeypatch.setattr(bench_rank_processes, "ENTITIES", 1000)
    words = ["--rows", "20000", "--arms", "id_only", "--table-rows", "1024", "--processes", "1", "2", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["bench", *words, "--scratch", str(tmp_path)])
    bench_rank_processes.main()
    found = json.loads((tmp_path / "out/rank_processes.json").read_text())["medians"]
    assert found["id_only 1"]["table_megabytes"] == 2 * found["id_only 2"]["table_megabytes"] > 0
    assert found["id_only 1"]["examples_per_second"] > 0 and found["id_only 2"]["examples_per_second"] > 0
    assert capsys.readouterr().out.count("\n| id_only | 2 |") == 1
