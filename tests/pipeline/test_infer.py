"""`transra infer`: vectors for entities that came after training, where a warm training would put them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import pipeline.infer
from artifacts.embeddings import Embeddings
from artifacts.files.hdf5 import open_hdf5
from artifacts.formats.graph import ids_path, load_graph
from pbg_transra import ModelConfig, PublishedModel, adopt_run
from pbg_transra.pbg.checkpoint_format import vectors_in
from pipeline.cli import main
from tests.worlds.night_world import latest_of, transra, write_config, write_day

MODEL = {"operator": "transra", "anchors": ["click"], "epochs": 3}


@pytest.fixture(scope="module", params=["cos", "dot"])
def published(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A night is published, and the events of the next day lie beside the log."""
    root = tmp_path_factory.mktemp("infer")
    write_day(root, 2)
    (root / "log/day-2.parquet").rename(root / "events.parquet")
    write_day(root, 1)
    config(root, {"similarity": request.param})
    assert transra(root, "run") == 0
    return root


def config(root: Path, model: dict[str, Any] | None = None, **graph: Any) -> None:
    write_config(root, MODEL | (model or {}))
    written = json.loads((root / "c.json").read_text())
    written["graph"] |= {"split": {}, **graph}
    (root / "c.json").write_text(json.dumps(written))


def infer(root: Path, events: str = "events.parquet", *more: str, out: str = "out.parquet") -> int:
    return transra(root, "infer", str(root / events), str(root / out), *more)


@pytest.mark.parametrize("pins_are_new", [False, True])
def test_new_entities_are_where_a_warm_training_would_put_them(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], pins_are_new: bool
) -> None:
    """Also where some of what a new user did was with pins that are as new."""
    events = pd.read_parquet(published / "events.parquet")
    if pins_are_new:
        news = events.iloc[::3]
        events = pd.concat([events, news.assign(pin="fresh" + news["pin"])])
    events.to_parquet(file := tmp_path / "events.parquet")
    assert infer(published, str(file)) == 0
    out, found = capsys.readouterr().out, pq.read_table(published / "out.parquet")
    assert "infer: vectors: " in out and f"by run {latest_of(published).id}" in out
    run = latest_of(published)
    ids = {id for kind in ("user", "pin") for part in (0, 1)
           for id in pq.read_table(ids_path(run.directory("partition"), kind, part))["id"].to_pylist()}  # fmt: skip
    assert set(found["id"].to_pylist()) == {*events["user"], *events["pin"]} - ids
    assert ("pin" in found["type"].to_pylist()) == pins_are_new
    file.rename(published / "log/day-2.parquet")
    try:
        assert transra(published, "partition", "--workspace", str(tmp_path / "w")) == 0
    finally:
        (published / "log/day-2.parquet").unlink()
    graph = next((tmp_path / "w").glob("2*")) / "graph"
    record = run.record("train")
    assert record is not None
    model = ModelConfig.model_validate(record["parts"]["config"])
    former = PublishedModel(run.id, run.directory("partition"), run.directory("train"), model)
    adopt_run(former, graph, model.model_copy(update={"warm_start": "latest"}), tmp_path / "start")
    expected = {}
    for kind in load_graph(graph).entity_types:
        for part in range(kind.partitions):
            with open_hdf5(tmp_path / f"start/embeddings_{kind.name}_{part}.v0.h5", "vectors") as started:
                names = pq.read_table(ids_path(graph, kind.name, part))["id"].to_pylist()
                expected |= dict(zip(names, vectors_in(started)[...], strict=True))
    for id, vector in zip(found["id"].to_pylist(), found["vector"].to_pylist(), strict=True):
        np.testing.assert_allclose(vector, expected[id], rtol=1e-4, atol=1e-5)


def test_who_has_no_known_neighbour_has_no_vector(
    published: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """But by one that has just been placed."""
    rows = pd.DataFrame({"user": ["new", "new", "alone", "u1"], "pin": ["p1", "heard", "unheard", "p2"]})
    rows.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "many").mkdir()
    rows[:2].to_parquet(tmp_path / "many/a.parquet")
    rows[2:].to_parquet(tmp_path / "many/b.parquet")
    for events in ("rows.parquet", "many"):
        assert infer(published, str(tmp_path / events)) == 0
        found = pq.read_table(published / "out.parquet")
        assert dict(zip(found["id"].to_pylist(), found["type"].to_pylist(), strict=True)) == {
            "new": "user",
            "heard": "pin",
        }
        said = capsys.readouterr().out
        assert "1 of type user" in said and "1 of type pin" in said
        assert "; 3 entities have one already; 2 new ones without a known neighbour have none" in said


def test_who_only_judged_the_published_run_is_inferred(tmp_path: Path) -> None:
    """A test edge gives nobody a vector but the first random one."""
    write_day(tmp_path, 1)
    config(tmp_path)
    written = json.loads((tmp_path / "c.json").read_text())
    written["graph"]["sources"]["log"] |= {"time_column": "ts", "time_unit": "s"}
    written["graph"]["split"] = {"time": {"valid_from": 900, "test_from": 1000}}
    (tmp_path / "c.json").write_text(json.dumps(written))
    log = tmp_path / "log/day-1.parquet"
    late = pd.DataFrame({"user": ["late"], "pin": ["p1"], "ts": [1000]})
    pd.concat([pd.read_parquet(log).assign(ts=1), late]).to_parquet(log)
    assert transra(tmp_path, "run") == 0
    assert list(Embeddings.open(latest_of(tmp_path).path).rows("user", ["late"])) == [-1]
    pd.DataFrame({"user": ["late", "u1"], "pin": ["p1", "p2"], "ts": [5, 5]}).to_parquet(tmp_path / "events.parquet")
    assert infer(tmp_path) == 0
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["id"].to_pylist() == ["late"]
    # as long as people are who were trained: in the export, late has the constant of all users and nothing more
    users = Embeddings.open(latest_of(tmp_path).path)
    lengths = np.linalg.norm(users.vectors("user")[users.trained("user"), 1:], axis=1)
    assert np.linalg.norm(found["vector"][0].as_py()[1:]) == pytest.approx(lengths.mean(), rel=1e-4)


NO_COLUMN = "misses a column of every source that relations read ('pin' of graph.sources.log); has user, item"
REFUSED: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    "missing column": ("item", (), 65, NO_COLUMN),
    "unknown source": ("pin", ("--source", "lag"), 2, "--source lag: no relation reads it; expected one of log"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_one_line(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    column, more, code, said = REFUSED[case]
    pd.DataFrame({"user": ["a"], column: ["p1"]}).to_parquet(tmp_path / "events.parquet")
    before = set(published.iterdir())
    assert infer(published, str(tmp_path / "events.parquet"), *more, out="refused.parquet") == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and set(published.iterdir()) == before


def test_no_events_are_no_vectors(published: Path, tmp_path: Path) -> None:
    pd.DataFrame({"user": [], "pin": []}, dtype=str).to_parquet(tmp_path / "events.parquet")
    assert infer(published, str(tmp_path / "events.parquet")) == 0
    assert pq.read_table(published / "out.parquet").num_rows == 0


def test_files_that_are_none(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.parquet").write_text("user,pin\n")
    assert infer(published, str(tmp_path / "text.parquet")) == 65
    assert infer(published, str(tmp_path / "nothing.parquet")) == 65
    assert infer(published, out="events.parquet") == 2
    assert infer(published, out="none/out.parquet") == 73
    assert len(capsys.readouterr().err.splitlines()) == 4
    assert infer(published, "events.parquet", "--workspace", str(tmp_path / "w")) == 2
    assert "no run with a model is published yet" in capsys.readouterr().err


def test_relations_that_the_model_does_not_know(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (published / "c.json").read_text()
    written = json.loads(before)
    (click,) = written["graph"]["relations"]
    try:
        written["graph"]["relations"] = [click, {**click, "name": "saw"}]
        (published / "c.json").write_text(json.dumps(written))
        assert infer(published) == 0
        assert "edges of relations that the model does not know: 400 of 'saw'" in capsys.readouterr().out
        written["graph"]["relations"] = [{**click, "name": "saw"}]
        written["model"]["anchors"] = ["saw"]
        (published / "c.json").write_text(json.dumps(written))
        assert infer(published) == 65
        assert "knows none of the events' relations (saw)" in capsys.readouterr().err
    finally:
        (published / "c.json").write_text(before)


def test_an_interrupted_one_leaves_what_was_there(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert infer(published) == 0
    before, content = set(published.iterdir()), (published / "out.parquet").read_bytes()

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.infer, "infer_entities", interrupted)
    assert infer(published) == 130
    assert set(published.iterdir()) == before and (published / "out.parquet").read_bytes() == content


def test_nobody_who_is_to_be_forgotten(tmp_path: Path) -> None:
    write_day(tmp_path, 1)
    config(tmp_path)
    assert transra(tmp_path, "run") == 0
    written = json.loads((tmp_path / "c.json").read_text())
    written["graph"] |= {"forget": {"source": "gone"}}
    written["graph"]["sources"] |= {"gone": {"path": "gone.csv"}}
    (tmp_path / "c.json").write_text(json.dumps(written))
    (tmp_path / "gone.csv").write_text("type,id\nuser,left\n")
    pd.DataFrame({"user": ["left", "stays"], "pin": ["p1", "p2"]}).to_parquet(tmp_path / "events.parquet")
    assert infer(tmp_path) == 0
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["stays"]


def test_pseudonyms_stay_pseudonyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "0123456789abcdef")
    write_day(tmp_path, 1)
    config(tmp_path, ids={"hash": "hmac-sha256", "key_env": "KEY"})
    assert transra(tmp_path, "run") == 0
    pd.DataFrame({"user": ["somebody"], "pin": ["p1"]}).to_parquet(tmp_path / "events.parquet")
    assert infer(tmp_path) == 0
    (id,) = pq.read_table(tmp_path / "out.parquet")["id"].to_pylist()
    assert len(id) == 64 and b"somebody" not in (tmp_path / "out.parquet").read_bytes()


def test_the_source_whose_columns_are_there_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_day(tmp_path, 1)
    write_day(tmp_path, 2)
    config(tmp_path)
    written = json.loads((tmp_path / "c.json").read_text())
    (click,) = written["graph"]["relations"]
    written["graph"]["sources"] |= {"more": {"path": "log/day-2.parquet"}}
    written["graph"]["relations"] += [{**click, "name": "saw", "source": "more"}]
    (tmp_path / "c.json").write_text(json.dumps(written))
    assert main(["run", str(tmp_path / "c.json"), "--root", str(tmp_path)]) == 0
    pd.DataFrame({"user": ["a"], "pin": ["p1"]}).to_parquet(tmp_path / "events.parquet")
    assert infer(tmp_path) == 2
    assert "may hold rows of log or more; expected --source with one of them" in capsys.readouterr().err
    assert infer(tmp_path, "events.parquet", "--source", "more") == 0
