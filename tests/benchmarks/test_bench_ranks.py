"""`make bench-ranks` at a tiny size, of one rank: log, graph, training, judgement and table."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import environment
from benchmarks.training import bench_ranks


@pytest.mark.slow
def test_a_tiny_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(environment, "OUT", tmp_path / "out")
    words = ["--millions", "0.02", "--dimension", "8", "--epochs", "1", "--ranks", "1", "--rounds", "1", "--categories"]
    monkeypatch.setattr(sys, "argv", ["bench", *words, "--scratch", str(tmp_path)])
    bench_ranks.main()
    found = json.loads((tmp_path / "out/ranks.json").read_text())["medians"]["1"]
    assert min(found.values()) > 0 and found["mrr"] < 1 and found["categories_mrr"] < 1
    assert capsys.readouterr().out.count("\n| 1 |") == 1
