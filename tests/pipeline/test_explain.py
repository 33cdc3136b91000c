"""`transra explain`: its numbers are the model's, its edges those of the log, and its ranker the published one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ranker
from artifacts.embeddings import Embeddings
from tests.worlds.lookup_world import write_world
from tests.worlds.night_world import latest_of, transra


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


def test_the_text_fits_a_terminal(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert transra(root, "explain", "u1", "p5") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for said in ("near in the anchor space", "score by click", "training edges", "if the graph knew none of the ids"):
        assert said in text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["u1", "nobody"], 65, "entity type 'pin' has no id 'nobody'"),
        (["u1", "p5", "--relation", "clik"], 2, "did you mean 'click'?"),
        (["u1", "p5", "--relation", "made_by"], 65, "entity type 'pin' has no id 'u1'"),
    ],
)
def test_what_is_not_there_is_said(
    root: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert transra(root, "explain", *words) == code
    assert said in capsys.readouterr().err
