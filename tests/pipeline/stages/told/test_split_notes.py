"""What `partition` says of a split that is empty, or that has lost most of what it held out."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.cli import main
from tests.partitioning.test_errors import config, relation


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


BUY = {"name": "buy", "where": "kind = 'buy'"}


@pytest.mark.parametrize(
    ("split", "anchors", "more", "said"),
    [
        ({"valid_from": 3, "test_from": 6}, ["buy"], {}, ("buy", 4, "3", 1, "6", 3)),
        ({"valid_from": "1970-01-01T00:00:06Z", "test_from": 9}, ["buy", "see"], {}, None),
        ({"valid_from": 1, "test_from": 6}, ["see"], {}, ("see", 6, "1", 4, "6", 2)),
        ({"valid_from": 1, "test_from": 2}, ["seen_by"], {}, ("seen_by", 6, "1", 1, "2", 5)),
        ({"valid_from": 3, "test_from": 6}, ["see"], {}, None),
        ({"valid_from": 6, "test_from": 9}, ["buy"], {}, None),
        ({"valid_from": 2, "test_from": 3, "until": 4}, ["buy"], {"allow_empty": True}, None),
        (None, ["buy"], {}, None),
    ],
)
def test_a_split_that_leaves_an_anchor_untrained_is_refused(
    tmp_path: Path,
    split: dict[str, Any] | None,
    anchors: list[str],
    more: dict[str, Any],
    said: tuple[Any, ...] | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of `see` there are events at 1 to 7, of `buy` at 5 to 8; what is no anchor may have none in training."""
    times = {"see": [1, 2, 3, 4, 6, 7], "buy": [5, 6, 7, 8]}
    rows = [(kind, ts) for kind, moments in times.items() for ts in moments]
    table = pd.DataFrame(rows, columns=["kind", "ts"]).assign(user=range(10), pin=range(10))
    table.to_parquet(tmp_path / "log.parquet")
    seen = relation(name="see", where="kind = 'see'", inverse="seen_by")
    graph = config(split={"time": split} if split else {}, relations=[seen, relation(**BUY, **more)])
    model = {"operator": "transra", "anchors": anchors}
    (tmp_path / "c.json").write_text(json.dumps({"graph": graph, "model": model}))
    code = main(["partition", str(tmp_path / "c.json"), "--root", str(tmp_path)])
    error = capsys.readouterr().err
    assert code == (65 if said else 0), error
    if said:
        name, edges, valid_from, valid, test_from, test = said
        assert error.strip() == (
            f"transra: graph.split.time: anchor '{name}' has no training edge, as none of its {edges} edges lies "
            f"before valid_from {valid_from} ({valid} lie before test_from {test_from}, {test} from then on); choose "
            f"later times, or leave it out of model.anchors"
        )
