"""`transra fit` and `transra score`: a model is published beside its vectors, and scores files whole or not at all."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import ranker
from pipeline.cli import main
from ranker.scoring import parquet
from tests.partitioning.test_errors import config, log

ROWS = 900
ARM = {"ids": True, "vectors": "concat"}
RANKER = {
    "impressions": "impressions.parquet",
    "user": "user",
    "slots": {"user": {"side": "user", "type": "user"}, "pin": {"side": "ad", "type": "pin"}},
    "numerics": {"n": "linear"},
    "labels": {"click": "click"},
    "min_match_rate": 0,
    "arms": {"both": ARM, "none": {}},
    "ids": {"rows": 256, "dim": 4},
    "fit": {"arm": "both"},
    "bootstrap": 20,
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose config has run, its ranking left out."""
    root = tmp_path_factory.mktemp("score")
    log().to_parquet(root / "log.parquet")
    rng = np.random.default_rng(0)
    rows = {"user": rng.integers(0, 9, ROWS), "pin": rng.choice(list("abcd"), ROWS), "n": rng.normal(size=ROWS)}
    rows |= {"click": rng.integers(0, 2, ROWS), "ts": np.arange(ROWS) + 1_767_225_600, "note": "beside"}
    pd.DataFrame(rows).to_parquet(root / "impressions.parquet")
    for stage in ("partition", "train", "export", "fit"):
        assert transra(root, stage) == 0
    return root


@pytest.fixture
def root(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "root", symlinks=True)
    return tmp_path / "root"


def transra(root: Path, command: str, *words: str, ranker: Any = RANKER) -> int:
    model = {"operator": "transe", "dimension": 4, "epochs": 1, "workers": 1}
    (root / "c.json").write_text(json.dumps({"graph": config(), "model": model, "ranker": ranker}))
    return main([command, str(root / "c.json"), *words, "--root", str(root)])


def impressions(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "impressions.parquet")


def test_rows_come_out_in_order_with_what_tells_them_apart(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BLOCK_ROWS", 70)
    frame = impressions(root)
    frame.drop(columns="click").to_parquet(root / "in.parquet", row_group_size=100)
    assert transra(root, "score", str(root / "in.parquet"), str(root / "out.parquet")) == 0
    out = pd.read_parquet(root / "out.parquet")
    assert list(out.columns) == ["user", "pin", "ts", "p_click"]
    pd.testing.assert_frame_equal(out[["user", "pin", "ts"]], frame[["user", "pin", "ts"]])
    expected = ranker.Scorer(root / "runs/c/latest/scorer").score(frame)["click"]
    assert np.abs(out["p_click"] - expected).max() < 1e-6 and expected.std() > 0
    assert pq.ParquetFile(root / "out.parquet").num_row_groups > 5


def test_directories_and_globs(root: Path) -> None:
    for day in range(3):
        (root / f"in/day={day}").mkdir(parents=True)
        impressions(root)[day::3].to_parquet(root / f"in/day={day}/a.parquet")
    for source, count in (("in", ROWS), ("in/day=[01]/*", 2 * ROWS // 3)):
        assert transra(root, "score", str(root / source), str(root / "out.parquet")) == 0
        assert len(pd.read_parquet(root / "out.parquet")) == count


def test_fit_is_made_once_and_again_when_it_must(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "runs"
    shutil.copytree(published / "runs/c", workspace, symlinks=True)
    capsys.readouterr()
    beside = {"arms": {"both": ARM}, "bootstrap": 30, "split": {"test": 0.3}, "training": {"seeds": [0, 1]}}
    for changes, made in (({}, False), (beside, False), ({"fit": {"arm": "none"}}, True)):
        assert transra(published, "fit", "--json", "--workspace", str(workspace), ranker=RANKER | changes) == 0
        stage = json.loads(capsys.readouterr().out)["stages"]["fit"]
        assert stage["made"] == made
    manifest = json.loads((workspace / "latest/scorer/manifest.json").read_text())
    assert (manifest["arm"], manifest["export"], manifest["columns"]["user"]) == ("none", None, "integer")
    assert not (workspace / "latest/scorer/embeddings.h5").exists()


BAD_ROWS = {
    "no column": (lambda frame: frame.drop(columns="n"), "no column 'n', in training a number"),
    "another type": (
        lambda frame: frame.astype({"user": str}),
        "column user is text, but integer in training",
    ),
    "bad number": (lambda frame: frame.assign(n="x"), "column n is text, but a number in training"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_bad_rows_leave_nothing(root: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    change, message = BAD_ROWS[kind]
    (root / "in").mkdir()
    impressions(root).to_parquet(root / "in/a.parquet")
    change(impressions(root)).to_parquet(root / "in/b.parquet")
    line = refused(root, 65, ["in", "out/p.parquet"], capsys)
    assert "in/b.parquet: " in line and message in line
    assert not list((root / "out").iterdir())


def test_an_interrupted_one_leaves_what_was_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    (root / "out").mkdir()
    (root / "out/p.parquet").write_text("earlier")
    monkeypatch.setattr(parquet, "_scored", interrupt)
    assert transra(root, "score", str(root / "impressions.parquet"), str(root / "out/p.parquet")) == 130
    assert [path.read_text() for path in (root / "out").iterdir()] == ["earlier"]


@pytest.mark.parametrize("kind", ["directory", "pipe", "link to a pipe"])
def test_what_is_no_file_is_not_replaced(root: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """A rename would take a device away from its machine."""
    (root / "out").mkdir()
    at, found = root / "out/p.parquet", root / "found"
    if kind == "directory":
        at.mkdir()
    else:
        os.mkfifo(at if kind == "pipe" else found)
    if kind == "link to a pipe":
        at.symlink_to(found)
    line = refused(root, 73, ["impressions.parquet", "out/p.parquet"], capsys)
    assert "out/p.parquet: is no file that can be replaced" in line
    assert list((root / "out").iterdir()) == [at] and not at.is_file()


def test_two_at_once_do_not_write_one_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second is turned away, the first stays whole, and what a killed one left is in nobody's way."""
    out, words = root / "out/p.parquet", [str(root / "impressions.parquet"), str(root / "out/p.parquet")]
    out.parent.mkdir()
    with parquet.replaced(out) as file:
        file.write(b"half")
        file.flush()
        assert "p.parquet: is being written by another command" in refused(
            root, 75, ["impressions.parquet", "out/p.parquet"], capsys
        )
        file.write(b" and half")
    assert out.read_bytes() == b"half and half" and list(out.parent.iterdir()) == [out]
    (out.parent / ".p.parquet.partial").write_bytes(b"left" * 1_000_000)
    assert transra(root, "score", *words) == 0
    assert len(pd.read_parquet(out)) == ROWS and list(out.parent.iterdir()) == [out]


def test_what_cannot_be_read_or_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere*: no Parquet files" in refused(root, 65, ["nowhere*", "out/p.parquet"], capsys)
    (root / "in.parquet").write_text("no Parquet")
    assert "in.parquet: expected a whole Parquet file" in refused(root, 65, ["in.parquet", "out/p.parquet"], capsys)
    line = refused(root, 2, ["impressions.parquet", "impressions.parquet"], capsys)
    assert "impressions.parquet: is also read; expected another file for the predictions" in line
    refused(root, 73, ["impressions.parquet", "not/there/p.parquet"], capsys)


def test_a_model_of_another_export_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(root / "runs", root / "other", symlinks=True)
    with (root / "other/c/latest/export/embeddings.h5").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    (root / "other/c/latest/export/stage.json").unlink()  # so that it counts as an export made elsewhere
    line = refused(root, 65, ["impressions.parquet", "out/p.parquet"], capsys, vectors=["other/c/latest"])
    assert "scorer: made with another export (run " in line and "run `transra fit` again" in line


@pytest.mark.parametrize("name", ["manifest.json", "network.pt2", "ids.npy", "transforms.json"])
def test_a_damaged_scorer_is_not_used(root: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = root / "runs/c/latest/scorer" / name
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    line = refused(root, 65, ["impressions.parquet", "out/p.parquet"], capsys)
    assert f"{name}: its content is not what was published" in line


def test_without_a_scorer(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree((root / "runs/c/latest").resolve() / "scorer")
    line = refused(root, 2, ["impressions.parquet", "out/p.parquet"], capsys)
    assert "no scorer is published with the latest vectors; run `transra fit" in line
    assert transra(root, "fit", ranker={**RANKER, "fit": None}) == 2
    assert "ranker.fit: missing, expected for example { arm: " in capsys.readouterr().err


def refused(root: Path, code: int, paths: Sequence[str], capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    """The one line that says why."""
    (root / "out").mkdir(exist_ok=True)
    capsys.readouterr()
    assert transra(root, "score", *(str(root / path) for path in paths), ranker=RANKER | changes) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("transra: ") and not (root / "out/p.parquet").is_file()
    return line
