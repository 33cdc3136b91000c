"""`transra simulate`: the trained arms in the demo world's auction, from the config to simulation.json."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demo_world import WorldParameters, generate
from demo_world.auctions.requests import CANDIDATES
from demo_world.events.tables import Names, ad_columns
from demo_world.generation import existing_world
from demo_world.population.serving import Served
from demo_world.sampling import sigmoid
from pipeline.cli import main
from pipeline.simulation.requests import candidate_rows, who_where_when
from ranker import RankerConfig, export_of, trained_arms

REPOSITORY = Path(__file__).resolve().parents[3]
SMALL = [
    *("--set", "model.epochs=1"),
    *("--set", "model.dimension=8"),
    *("--set", "model.workers=1"),
    *("--set", "ranker.bootstrap=20"),
    *("--set", "ranker.training.seeds=[0, 1]"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo world, and a workspace with a ranking of it."""
    root = tmp_path_factory.mktemp("root")
    generate(root / "data" / "demo", WorldParameters(users=600, impressions=24_000, days=30, seed=1), None, 1)
    assert transra(root, "run", "--until", "export") == 0
    assert transra(root, "rank") == 0
    return root


def transra(root: Path, command: str, *more: str) -> int:
    config = str(REPOSITORY / "configs" / "demo_rank.json")
    return main([command, config, "--root", str(root), "--workspace", str(root / "runs"), *SMALL, *more])


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_arms_meet_the_auction(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert transra(root, "simulate", "--requests", "1500") == 0
    said = capsys.readouterr().out
    path = root / "runs" / "latest" / "simulation.json"
    first = path.read_bytes()
    report = json.loads(first)
    assert report["label"].startswith("simulation: ") and said.startswith(report["label"])
    assert list(report["arms"]) == ["none", "attention", "oracle"] and report["requests"] == 1500
    assert report["arms"]["oracle"]["regret"]["value"] == 0 < report["arms"]["none"]["regret"]["value"]
    against = report["arms"]["attention"]["against"]["none"]["true_rates"]
    assert {"ctr_lift", "cpc_change", "conversions_per_thousand_change"} == against.keys()
    assert f"{against['ctr_lift']['value']:+.2%} [" in said
    assert transra(root, "simulate", "--requests", "1500") == 0
    assert path.read_bytes() == first, "same seed, same bytes"
    assert transra(root, "simulate", "--requests", "1500", "--seed", "1") == 0
    assert path.read_bytes() != first
    assert transra(root, "rank", "--verify", "--json") == 0, "what lies beside the ranking is no part of it"


def test_a_candidate_is_scored_as_the_impression_that_it_would_have_been(root: Path) -> None:
    """The ad that was logged, among the candidates, gets the prediction that its test row had."""
    run = (root / "runs" / "latest").resolve()
    config = RankerConfig.model_validate(json.loads((run / "manifest.json").read_text())["config"]["ranker"])
    arms = trained_arms(config, root, {run.name: export_of(run)}, run / "ranker", run / "prepared")
    numbers = np.array([0, 3, 3, arms.test_rows - 1])
    rows = next(arms.rows(numbers))
    assert len(rows) == 4 and rows["impression_id"][1] == rows["impression_id"][2]
    world = existing_world(root / "data" / "demo")
    pin = np.array([int(one[1:]) for one in rows["pin_id"].to_pylist()])
    candidates = np.repeat(pin[:, None], CANDIDATES, axis=1)
    candidates[:, 1:] = (candidates[:, 1:] + np.arange(1, CANDIDATES)) % world.parameters.sizes.pins
    found = arms.click_rates(candidate_rows(rows, CANDIDATES, ad_columns(world, Names.of(world), candidates.ravel())))
    for contestant, rates in found.items():
        for seed, rate in enumerate(rates):
            (place,) = (run / "ranker" / "arms" / contestant).glob(f"*/seed-{seed}")
            logits = np.load(place / "test_logits.npz")["ctr"][numbers].astype(np.float64)
            np.testing.assert_allclose(rate.reshape(-1, CANDIDATES)[:, 0], 1 / (1 + np.exp(-logits)), rtol=1e-5)
            assert len(np.unique(rate)) > 3 * (CANDIDATES - 1) / 2, "other ads, other predictions"
    user, position, _ = who_where_when(rows)
    assert [f"u{one}" for one in user] == rows["user_id"].to_pylist() and (position >= 1).all()


def test_only_a_demo_world_that_is_ranked_can_be_simulated(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    shutil.copytree(root / "data" / "demo" / "impressions", tmp_path / "log" / "impressions")
    other = ("--set", f"ranker.impressions='{tmp_path}/log/impressions/*.parquet'")
    assert transra(root, "simulate", "--json", *other) == 2
    (line,) = answer(capsys)["errors"]
    assert "ranker.impressions" in line and "no demo world" in line and "transra demo-data" in line
    assert transra(root, "simulate", "--json", "--set", "ranker.training.lr=0.01") == 2
    (line,) = answer(capsys)["errors"]
    assert line.startswith("simulate: rank is not up to date (") and "run `transra rank" in line
    assert transra(root, "simulate", "--json", "--set", "ranker.compare=['attention']") == 2
    assert answer(capsys)["errors"][0].startswith("ranker.compare: a simulation compares with arm 'none'")
    assert transra(root, "simulate", "--json", "--set", "ranker.counts=[['user_id']]") == 2
    assert answer(capsys)["errors"][0].startswith("ranker.counts, ranker.slots: a simulation asks about new rows")
    assert transra(root, "simulate", "--json", "--set", "ranker=null") == 2
    assert "ranker: missing" in answer(capsys)["errors"][0]


def test_scores_of_another_model_take_part(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that knows the truth is the oracle; files of other requests, or with rates that are none, are refused."""
    capsys.readouterr()
    candidates, scores = tmp_path / "candidates.parquet", tmp_path / "scores.parquet"
    few = ("--requests", "700", "--json")
    assert transra(root, "simulate", *few, "--candidates", str(candidates)) == 0
    assert answer(capsys)["rows"] == 700 * CANDIDATES and list(tmp_path.iterdir()) == [candidates]
    rows = pq.read_table(candidates)
    assert "pin_id" in rows.column_names and not {"click", "conversion", "conversion_ts"} & set(rows.column_names)
    places = {"request": rows["request"], "candidate": rows["candidate"]}

    def refused(code: int, **columns: Any) -> str:
        pq.write_table(pa.table({**places, **columns}), scores)
        assert transra(root, "simulate", *few, "--scores", f"mine={scores}") == code
        (line,) = answer(capsys)["errors"]
        return str(line)

    world = existing_world(root / "data" / "demo")
    user, position, hour = who_where_when(rows)
    pin = np.array([int(one[1:]) for one in rows["pin_id"].to_pylist()])
    affinity = np.einsum("nk,nk->n", world.users.latent[user], world.pins.latent[pin])
    truth = sigmoid(world.response.click_logit(user, Served(pin, affinity, affinity), position, hour))
    pq.write_table(pa.table({**places, "score": 2 * truth}), scores)
    assert transra(root, "simulate", *few, "--scores", f"mine={scores}") == 0
    report = answer(capsys)["simulation"]
    assert report["baselines"] == ["none", "mine"] and list(report["arms"]) == ["none", "attention", "mine", "oracle"]
    assert report["arms"]["mine"]["regret"]["value"] == pytest.approx(0, abs=1e-6)
    assert report["arms"]["attention"]["against"]["mine"]["true_rates"]["ctr_lift"]["value"] < 0

    assert "row 5: score is 0.0, expected a predicted click rate above 0" in refused(65, score=truth * (pin != pin[5]))
    assert "expected the 7,000 rows" in refused(65, score=truth, request=rows["candidate"])
    assert "expected Parquet with numbers in request, candidate and score" in refused(65, other=truth)
    assert transra(root, "simulate", "--json", "--scores", f"mine={tmp_path}/no.parquet") == 2
    assert "no such file" in answer(capsys)["errors"][0]
    assert transra(root, "simulate", *few, "--scores", f"none={scores}") == 2
    assert answer(capsys)["errors"] == ["--scores: 'none' is an arm; expected another name"]


@pytest.mark.parametrize(
    "wrong", [("--requests", "0"), ("--reserve", "0"), ("--reserve", "x"), ("--seed", "-1"), ("--scores", "x")]
)
def test_options_that_cannot_be(root: Path, wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        transra(root, "simulate", *wrong)
    assert "expected " in capsys.readouterr().err
