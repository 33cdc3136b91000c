"""What `partition` says of a split that is empty, or that has lost most of what it held out."""

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli import main
from tests.partitioning.test_errors import config


@pytest.mark.parametrize(
    ("times", "split", "said"),
    [
        ([1, 2, 3, 4], {"time": {"valid_from": 3, "test_from": 9}}, "the test split is empty (no event lies in its"),
        ([9, 9, 9, 9], {"time": {"valid_from": 3, "test_from": 9}}, "the train split is empty"),
        ([1, 1, 5, 6], {"time": {"valid_from": 5, "test_from": 6}}, "most held-out edges were left out"),
        ([1, 1, 5, 9], {"time": {"valid_from": 5, "test_from": 6, "until": 7}}, "the test split is empty"),
        ([1, 2, 3, 4], {"time": {"valid_from": 2, "test_from": 4}}, None),
        ([1, 2, 3, 4], {}, None),
    ],
)
def test_what_a_split_lost_is_said(
    tmp_path: Path, times: list[int], split: dict, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = {"user": [1, 2, 1, 2], "pin": list("abab")} if said and "most" in said else {}
    rows = {"user": [1, 2, 3, 4], "pin": list("abcd"), "ts": times, **copies}
    if said and "most" in said:
        rows = {name: [*values, new] for (name, values), new in zip(rows.items(), (9, "z", 6), strict=True)}
    pd.DataFrame(rows).to_parquet(tmp_path / "log.parquet")
    graph = config(split=split)
    (tmp_path / "c.json").write_text(json.dumps({"graph": graph, "model": {"operator": "transr"}}))
    assert main(["partition", str(tmp_path / "c.json"), "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "edges (train " in out
    assert (said in out) if said else "split is empty" not in out and "most held-out" not in out
    assert ("left out: 2 seen before" in out) == bool(copies)
