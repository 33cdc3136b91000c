"""`make bench-device` on the CPU device, at tiny sizes."""

import json
from pathlib import Path

import pytest

from benchmarks import environment
from benchmarks.device import bench_device
from benchmarks.device.bench_device import cells, main
from benchmarks.device.device_limits import Sizes
from benchmarks.device.device_rates import Cell, World
from tests.worlds.small_graphs import block_graph


def test_everything_is_measured_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (graph := tmp_path / "graph").mkdir()
    block_graph(graph)
    monkeypatch.setattr(environment, "OUT", tmp_path / "out")
    monkeypatch.setitem(bench_device.SIZES, "cpu", Sizes(1 << 16, 32))
    chosen = [Cell(8, 20, 100), Cell(8, 20, 100, recorded=False)]
    arguments = ["--device", "cpu", "--graph", str(graph), "--epochs", "2"]
    main(arguments, World(entities=50, edges=400, seconds=0.01), chosen)
    found = json.loads((tmp_path / "out" / "device.json").read_text())
    assert len(found["cells"]) == 2
    for cell in found["cells"]:
        assert cell["measured"]["edges_per_second"] > 0
        assert cell["measured"]["product_share"] > 0 and cell["measured"]["bandwidth_share"] > 0
    levels = {name: each["level"] for name, each in found["quality"].items()}
    assert levels["cpu device"] == "cpu" and levels["processors"] != "cpu"
    assert all(0 < each["mrr"] < 1 for each in found["quality"].values())
    assert found["ranker"] is None


def test_without_a_card_a_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "sees no GPU here" in capsys.readouterr().err


def test_a_card_is_asked_for_both_dimensions_and_numbers_of_negatives_in_few_minutes() -> None:
    asked = cells("cuda")
    assert {(cell.dimension, cell.negatives) for cell in asked} == {(d, n) for d in (64, 128) for n in (100, 1000)}
    assert {cell.recorded for cell in asked} == {True, False}
    assert all(cell.config.batch_size % cell.config.batch_negatives == 0 for cell in asked)
    assert len(asked) <= 16, "seven seconds each, about"
