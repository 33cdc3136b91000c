"""`transra features` and `ranker.counts` by the commands: what they need, what they refuse, and how that ends."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from tests.partitioning.test_errors import config, log

ROWS = 400
RANKER = {
    "impressions": "impressions.parquet",
    "slots": {"user_id": {"type": "user", "side": "user"}, "pin_id": {"type": "pin", "side": "ad"}},
    "numerics": {"n": "linear"},
    "labels": {"click": "click"},
    "counts": [["user_id", "surface"]],
    "arms": {"none": {}},
    "bootstrap": 20,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    log().to_parquet(tmp_path / "log.parquet")
    rng = np.random.default_rng(0)
    rows = {"user_id": rng.integers(1, 5, ROWS), "pin_id": rng.choice(list("abcd"), ROWS), "n": rng.normal(size=ROWS)}
    rows |= {"click": rng.integers(0, 2, ROWS), "surface": rng.choice(["feed", "search"], ROWS)}
    ts = 1_767_225_600 + np.arange(ROWS) * 3600
    pd.DataFrame({**rows, "ts": ts}).to_parquet(tmp_path / "impressions.parquet")
    return tmp_path


def write_config(root: Path, graph: dict[str, Any] | None = None, **ranker: Any) -> str:
    model = {"operator": "transe", "dimension": 4, "epochs": 1, "workers": 1}
    whole = {"graph": {**config(), **(graph or {})}, "model": model, "ranker": {**RANKER, **ranker}}
    (root / "c.json").write_text(json.dumps(whole))
    return str(root / "c.json")


def transra(root: Path, *command: str, **changes: Any) -> int:
    return main([*command, write_config(root, **changes), "--root", str(root)])


def features(root: Path, *options: str, **changes: Any) -> int:
    out = str(root / "features.parquet")
    return main(["features", write_config(root, **changes), out, *options, "--root", str(root)])


@pytest.fixture
def published(root: Path) -> Path:
    assert transra(root, "run") == 0
    return root


def test_counts_are_named_in_the_metrics_of_a_ranking(published: Path) -> None:
    metrics = json.loads((published / "runs/c/latest/metrics.json").read_text())
    assert metrics["rank"]["counts"] == [f"user_id_x_surface_{name}" for name in ("impressions", "clicks", "ctr_lift")]


def test_the_file_has_a_row_of_each_impression(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert features(published) == 0
    assert f"features: {ROWS} rows of 14 columns" in capsys.readouterr().out
    table = pd.read_parquet(published / "features.parquet")
    pd.testing.assert_series_equal(table["user_id"], pd.read_parquet(published / "impressions.parquet")["user_id"])
    unknown = (table["user_id"] == 4) | (table["pin_id"] == "d")
    np.testing.assert_array_equal(table["cos_user_id_pin_id"].isna(), unknown)
    assert not list(published.glob(".*.partial")) and not list(published.glob("runs/c/.stored"))


def test_it_says_as_json_what_it_wrote(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert features(published, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["command"], said["exit_code"], said["rows"]) == ("features", 0, ROWS)
    assert said["columns"] == pq.read_schema(published / "features.parquet").names
    assert said["run"] == (published / "runs/c/latest").resolve().name
    assert said["match_rates"]["user_id"]["distinct"] == 4


def test_a_dry_run_writes_nothing(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert features(published, "--dry-run") == 0
    assert "features: would read the vectors of" in capsys.readouterr().out
    assert not (published / "features.parquet").exists()


def test_without_a_published_export_it_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert features(root) == 2
    error = capsys.readouterr().err
    assert "nothing is published yet; run `transra run " in error and error.count("\n") == 1


LIST = {"side": "user", "cap": 3}
REFUSED: dict[str, tuple[int, str, dict[str, Any]]] = {
    "column": (2, "ranker.counts[0]: no column 'surfase' in ", {"counts": [["user_id", "surfase"]]}),
    "list": (2, "ranker.counts[0]: 'l' is a list", {"counts": [["l"]], "slots": {**RANKER["slots"], "l": LIST}}),
    "label": (2, "ranker.counts[0]: 'click' is a label", {"counts": [["click"]]}),
    "where": (2, "ranker.where: ", {"where": "surfase = 'feed'"}),
    "vectors": (2, "ranker.vectors[0]: ", {"vectors": ["runs/none"]}),
}


@pytest.mark.parametrize(
    ("command", "case"),
    [
        *(("features", case) for case in REFUSED),
        *((command, case) for command in ("run", "config check") for case in REFUSED if case != "vectors"),
    ],
)
def test_a_bad_config_is_one_line_before_work(
    root: Path, case: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message, changes = REFUSED[case]
    found = features(root, **changes) if command == "features" else transra(root, *command.split(), **changes)
    error = capsys.readouterr().err
    assert found == code and message in error and error.count("\n") == 1
    assert not list(root.glob("runs/c/2*")) and not (root / "features.parquet").exists()


def test_a_foreign_file_stays_as_it_is(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (published / "features.parquet").write_text("mine")
    assert features(published) == 2
    assert "exists, and was not written by `transra features`" in capsys.readouterr().err
    assert (published / "features.parquet").read_text() == "mine"


def test_a_bad_row_is_bad_data(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    impressions = pd.read_parquet(published / "impressions.parquet")
    impressions.loc[7, "click"] = 3
    impressions.to_parquet(published / "impressions.parquet")
    assert features(published) == 65
    assert "impressions.parquet: row 7: click is 3, expected 0 or 1" in capsys.readouterr().err
    assert not (published / "features.parquet").exists() and not list(published.glob(".*.partial"))


def test_a_config_without_a_ranker_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "c.json").write_text(json.dumps({"graph": config(), "model": {"operator": "transe", "dimension": 4}}))
    assert main(["features", str(root / "c.json"), str(root / "f.parquet"), "--root", str(root)]) == 2
    assert "ranker: missing, expected the section that `features` needs" in capsys.readouterr().err


def test_forgotten_people_are_not_in_it(published: Path) -> None:
    pd.DataFrame({"type": ["user"], "id": [2]}).to_parquet(published / "gone.parquet")
    graph = config()
    sources = {**graph["sources"], "gone": {"path": "gone.parquet"}}
    forget = {"source": "gone", "type_column": "type", "column": "id"}
    assert features(published, graph={"sources": sources, "forget": forget}) == 0
    assert sorted(pd.read_parquet(published / "features.parquet")["user_id"].unique()) == [1, 3, 4]


CLICKED = {"type": "pin", "side": "user", "of": "user_id", "via": "click"}


def derived(**changes: Any) -> dict[str, Any]:
    return {"slots": {**RANKER["slots"], "clicked": {**CLICKED, **changes}}, "min_match_rate": 0}


@pytest.mark.parametrize("command", ["features", "run", "config check"])
@pytest.mark.parametrize("slots", [RANKER["slots"], derived()["slots"]], ids=["alone", "with an attribute of it"])
def test_a_slot_of_no_type_of_the_graph_is_one_line_before_work(
    root: Path, command: str, slots: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """It was said after the training, of the export."""
    chosen = {"slots": {**slots, "user_id": {**slots["user_id"], "type": "usr"}}}
    assert (features(root, **chosen) if command == "features" else transra(root, *command.split(), **chosen)) == 2
    message = "ranker.slots.user_id.type: 'usr' is not an entity type of the graph, did you mean 'user'?"
    assert capsys.readouterr().err == f"transra: {message}\n"
    assert not list(root.glob("runs/c/2*"))


@pytest.mark.parametrize("command", ["features", "run", "config check"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "makre"}, "ranker.slots.clicked.type: 'makre' is not an entity type of the graph (known: pin, user)"),
        ({"via": "clik"}, "ranker.slots.clicked.via: 'clik' is not a relation of the graph, did you mean 'click'?"),
        ({"type": "user"}, "ranker.slots.clicked.via: 'click' does not lead from 'user' to 'user'"),
    ],
)
def test_an_attribute_by_no_relation_is_one_line_before_work(
    root: Path, command: str, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = derived(**changes)
    assert (features(root, **chosen) if command == "features" else transra(root, *command.split(), **chosen)) == 2
    assert capsys.readouterr().err == f"transra: {message}\n"
    assert not list(root.glob("runs/c/2*"))


def test_edges_that_are_not_what_was_published_are_no_attributes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transra(root, "run", **derived()) == 0
    assert features(root, **derived()) == 0
    table = pq.read_table(root / "features.parquet").to_pydict()
    assert dict(zip(table["user_id"], table["clicked"], strict=True)) == {1: "a", 2: "b", 3: "c", 4: None}
    edges = root / "runs/c/latest/graph/edges/train/edges_0_0.h5"
    content = bytearray(edges.read_bytes())
    content[-1] ^= 1
    edges.write_bytes(content)
    assert (features(root, **derived()), transra(root, "rank", **derived(), bootstrap=21)) == (65, 65)
    assert capsys.readouterr().err.count("edges_0_0.h5: its content is not what was published") == 2
    assert features(root) == 0, "edges are not read"
