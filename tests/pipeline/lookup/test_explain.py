"""`transra explain`: its numbers are the model's, its edges those of the log, and its ranker the published one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ranker
from artifacts.embeddings import Embeddings
from pipeline.lookup.explained_text import explanation
from tests.worlds.lookup_world import SIDES, write_world
from tests.worlds.night_world import copy_of, latest_of, transra


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explain")
    write_world(root)
    return root


def explained(capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert transra(root, "explain", *words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def vector(export: Embeddings, type: str, id: str) -> Any:
    return np.asarray(export.vectors(type)[export.rows(type, [id])[0]], np.float64)


def test_similarity_scores_and_ranks_are_those_of_the_vectors(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = Embeddings.open(latest_of(root).path)
    found = explained(capsys, root, "u1", "p5")
    head, translation = export.queries("user", export.rows("user", ["u1"]))[0], export.relation("click").parameters
    near = np.asarray(export.vectors("pin")) @ head
    mine = export.rows("pin", ["p5"])[0]
    assert found["similarity"]["value"] == pytest.approx(near[mine], rel=1e-4)
    assert found["similarity"]["rank"] == 1 + np.count_nonzero(near > near[mine])
    assert found["similarity"]["among"] == export.count("pin") == 24
    (click,) = found["scores"]
    moved = vector(export, "user", "u1") + translation["translation"]
    scores = float(export.attributes["scale"]) * (np.asarray(export.vectors("pin")) @ moved)
    assert (click["name"], click["rank"]) == ("click", 1 + np.count_nonzero(scores > scores[mine]))
    assert click["value"] == pytest.approx(scores[mine], rel=1e-4)


def test_a_projected_relation_is_scored_in_its_own_space(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = Embeddings.open(latest_of(root).path)
    found = explained(capsys, root, "p5", "m1", "--relation", "made_by")
    parameters = export.relation("made_by").parameters
    head, tail = vector(export, "pin", "p5"), vector(export, "maker", "m1")
    expected = (parameters["projection"] @ head + parameters["translation"]) @ (parameters["projection"] @ tail)
    assert found["scores"][0]["value"] == pytest.approx(float(export.attributes["scale"]) * expected, rel=1e-3)


def test_supporting_edges_are_what_the_log_says(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of training alone, nearest first, each once."""
    export = Embeddings.open(latest_of(root).path)
    log = pd.read_parquet(root / "log")
    degrees = dict(zip(export.degree_names("user"), export.degrees("user").T, strict=True))["click:lhs"]
    for user in ("u0", "u7", "u20"):
        found = explained(capsys, root, user, "p5", "--k", "100")
        clicked = [one["id"] for one in found["supporting"] if one["relation"] == "click"]
        assert {*clicked} <= {*log.loc[log.user == user, "pin"]}
        assert len(clicked) == len({*clicked}) == found["edges"] <= degrees[export.rows("user", [user])[0]]
        near = [one["similarity"] for one in found["supporting"]]
        assert near == sorted(near, reverse=True)


def test_edges_are_found_on_both_sides_and_across_partitions(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pin's edges are the users who clicked it, where it is a tail, and its maker, which is not split."""
    log = pd.read_parquet(root / "log")
    found = explained(capsys, root, "p5", "m1", "--relation", "made_by", "--k", "100")
    of_maker = [one["id"] for one in found["supporting"] if one["relation"] == "made_by"]
    users = {one["id"] for one in found["supporting"] if one["relation"] == "click"}
    assert of_maker == ["m1"]
    assert users <= {*log.loc[log.pin == "p5", "user"]} and len(users) > 3


def test_the_ranker_is_asked_with_and_without_the_graph(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = pd.read_parquet(root / "impressions.parquet")
    newest = log.iloc[-1]
    scorer = ranker.Scorer(root / "runs/c/latest/scorer")
    found = explained(capsys, root, newest.user, newest.pin)["ranker"]
    assert (found["row"], found["time"]) == ("the newest impression of both", int(newest.ts))
    row = {name: [newest[name]] for name in scorer.columns}
    assert found["predictions"]["click"]["graph"] == pytest.approx(scorer.score(row)["click"][0])
    unknown = scorer.score({**row, "user": ["new"], "pin": ["new"], "recent": [["new"]]})["click"][0]
    assert found["predictions"]["click"]["no_graph"] != found["predictions"]["click"]["graph"]
    assert unknown != found["predictions"]["click"]["no_graph"]  # the ID table still knows them


def test_attention_is_shared_out_among_what_the_list_holds(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = pd.read_parquet(root / "impressions.parquet")
    newest = log[log.recent.map(len) >= 3].iloc[-1]
    log = log[log.ts <= newest.ts]
    log.to_parquet(root / "shorter.parquet")
    found = explained(capsys, root, newest.user, newest.pin, "--set", "ranker.impressions=shorter.parquet")["ranker"]
    attention = found["attention"]
    assert {one["name"] for one in attention["recent"]} == {"(none of them)", *newest.recent[:4]}
    assert {one["name"] for one in attention["context"]} == {"user", "pin", "recent"}
    for weights in attention.values():
        assert sum(one["weight"] for one in weights) == pytest.approx(1, abs=1e-4)
        assert all(one["weight"] >= 0 for one in weights)


def test_without_an_impression_of_both_one_is_put_together(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = pd.read_parquet(root / "impressions.parquet")
    of_user = log[log.user == "u3"].iloc[-1]
    found = explained(capsys, root, "u3", "p23")["ranker"]  # nobody was shown it
    assert found["row"] == "the newest impression of the other, with pin = p23"
    assert found["time"] == of_user.ts


def changed(root: Path, to: Path, change: Callable[[dict[str, Any]], None], *stages: str) -> Path:
    """A copy of the world with another config, of which these stages have run once more."""
    copy = copy_of(root, to / "copy")
    raw = json.loads((copy / "c.json").read_text())
    change(raw)
    (copy / "c.json").write_text(json.dumps(raw))
    for stage in stages:
        assert transra(copy, stage, "--quiet") == 0
    return copy


def test_slots_that_the_log_has_no_column_of(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slot with `of` and `via` is made of the graph, in an impression that is put together, too. Times that are
    timestamps are answered in ISO 8601."""

    def derived(raw: dict[str, Any]) -> None:
        raw["ranker"]["slots"] |= {
            "makers": {"side": "user", "type": "maker", "cap": 4, "of": "recent", "via": "made_by"},
            "maker": {"side": "ad", "type": "maker", "of": "pin", "via": "made_by"},
        }
        raw["ranker"]["impressions"] = "timed.parquet"

    log = pd.read_parquet(root / "impressions.parquet")
    newest = log[log.recent.map(len) >= 2].iloc[-1]
    times = pd.to_datetime(log.ts, unit="s").astype("datetime64[us]")
    log.assign(ts=times)[log.ts <= newest.ts].to_parquet(root / "timed.parquet")
    copy = changed(root, tmp_path, derived, "fit")
    found = explained(capsys, copy, newest.user, newest.pin)["ranker"]
    assert found["row"] == "the newest impression of both"
    assert found["time"] == times[newest.name].isoformat()
    of_pins = pd.read_parquet(root / "makers.parquet").set_index("pin").maker
    assert {one["name"] for one in found["attention"]["makers"]} == {"(none of them)", *of_pins[newest.recent[:4]]}
    row = {name: [newest[name]] for name in ("user", "recent", "pin", "n")}
    row |= {"makers": [[*of_pins[newest.recent]]], "maker": [of_pins[newest.pin]]}
    scored = ranker.Scorer(copy / "runs/c/latest/scorer").score(row)
    assert found["predictions"]["click"]["graph"] == pytest.approx(scored["click"][0])
    composed = explained(capsys, copy, "u3", "p23")["ranker"]  # nobody was shown it
    assert composed["row"] == "the newest impression of the other, with pin = p23"


def test_what_the_log_lacks_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts are in no log, either. What the graph says is told all the same."""
    pd.read_parquet(root / "impressions.parquet").drop(columns="n").to_parquet(root / "narrow.parquet")
    found = explained(capsys, root, "u1", "p5", "--set", "ranker.impressions=narrow.parquet")
    assert found["ranker"] == {"missing": "the ranker's log has no column 'n', which the scorer reads"}
    assert found["supporting"]


def test_ids_that_are_looked_up_and_a_tail_without_a_training_edge(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Edges of a relation with a `join` are with what its ids lead to. Who is only in the test has no vector."""

    def joined(raw: dict[str, Any]) -> None:
        graph, maker = raw["graph"], {"type": "maker", "column": "pin"}
        maker |= {"join": {"source": "makers", "column": "pin", "to": "maker"}}
        graph["sources"]["later"] = {"path": "later.parquet", "split": "test"}
        graph["relations"][0]["source"] = ["log", "later"]
        graph["relations"].append({"name": "likes", "source": "log", "lhs": SIDES["user"], "rhs": maker})

    pd.DataFrame({"user": ["u1"], "pin": ["unseen"]}).to_parquet(root / "later.parquet")
    copy = changed(root, tmp_path, joined, "partition", "train", "export")
    log, makers = pd.read_parquet(copy / "log"), pd.read_parquet(copy / "makers.parquet").set_index("pin").maker
    met = set()
    for user in ("u1", "u2", "u3", "u4"):  # edges of one of them may all be held out
        found = explained(capsys, copy, user, "m1", "--relation", "likes", "--k", "100")
        of_makers = {one["id"] for one in found["supporting"] if one["relation"] == "likes"}
        assert [one["name"] for one in found["scores"]] == ["likes"] and found["similarity"]["among"] == 4
        assert of_makers <= {*makers[log.loc[log.user == user, "pin"]]}
        met |= of_makers
    assert len(met) > 1
    assert explained(capsys, copy, "u1", "p5")["similarity"]["among"] == 24, "among whom it does not count"
    assert transra(copy, "explain", "u1", "unseen") == 65
    assert "entity type 'pin' has no training edge, so no vector, of id 'unseen'" in capsys.readouterr().err


def test_the_text_fits_a_terminal(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert transra(root, "explain", "u1", "p5") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for said in ("near in the anchor space", "score by click", "training edges", "if the graph knew none of the ids"):
        assert said in text


def test_no_line_ends_within_an_id_or_a_weight() -> None:
    """Titles are cut where a terminal of 80 columns ends, and of an attention fewer weights are shown."""
    rank, ids = {"value": 0.5, "rank": 1, "among": 2}, ["x" * 100, *(f"{number:012d}" for number in range(4))]
    found = {
        "user": {"type": "user", "id": ids[0]},
        "ad": {"type": "pin", "id": ids[1], "label": "t" * 100},
        "run": "r",
        "similarity": rank,
        "scores": [],
        "not_scored": [],
        "edges": 1,
        "edges_counted": True,
        "supporting": [{"type": "pin", "id": id, "label": "t" * 100, "relation": "r", "similarity": 0.1} for id in ids],
        "ranker": {
            "arm": "attention",
            "row": "made",
            "predictions": {},
            "attention": {
                "few": [{"name": id, "weight": 0.25} for id in ids[1:] * 2],
                "long": [{"name": id, "weight": 0.25} for id in ids],
            },
        },
    }
    lines = explanation(found).splitlines()
    supporting = [line.split()[3] for line in lines if line.startswith("    0.1000")]
    assert supporting == ids
    few, long = (line.split(": ")[1].split(", ") for line in lines if "attends in" in line)
    assert few == [f"{id} 0.25" for id in ids[1:4]] and long == [f"{ids[0]} 0.25"]
    assert all(len(line) <= 80 for line in lines if ids[0] not in line)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["u1", "nobody"], 65, "entity type 'pin' has no id 'nobody'\n"),
        (["p5", "u1"], 65, "entity type 'user' has no id 'p5'; it is an id of 'pin'"),
        (["u1", "p5", "--relation", "clik"], 2, "did you mean 'click'?"),
        (
            ["u1", "p5", "--relation", "made_by"],
            65,
            "entity type 'pin' has no id 'u1'; it is an id of 'user'; 'made_by' "
            "was asked about, and --relation click is of these two",
        ),
    ],
)
def test_what_is_not_there_is_said(
    root: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert transra(root, "explain", *words) == code
    assert said in capsys.readouterr().err
