"""A model card and MLflow's record of the published run: what manifest.json and metrics.json say."""

import json
from pathlib import Path

import pytest

from pipeline.running.model_card import model_card
from pipeline.running.published_facts import Facts, numbers
from tests.worlds.night_world import latest_of, transra, write_config, write_day


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("keepers")
    write_day(root, 1)
    write_config(root)
    assert transra(root, "run", "--quiet") == 0
    return root


def test_a_card_says_what_a_run_is(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transra(root, "card") == 0
    text, run = capsys.readouterr().out, latest_of(root)
    metrics = run.metrics()
    for row in (
        f"| run | {run.id} |",
        "| operator | transr, 8 dimensions, similarity cos |",
        f"| user | {metrics['partition']['entities_by_type']['user']} |",
        "| click | not asked (onsite) |",
        f"| mrr | {metrics['evaluate']['mrr']:.4f} |",
    ):
        assert row in text.splitlines(), row
    assert transra(root, "card", "-o", str(root / "card.md"), "--quiet") == 0
    assert (root / "card.md").read_text() == text.removesuffix("\n")


def test_a_card_of_a_run_that_was_not_evaluated_and_names_from_data(root: Path) -> None:
    run = latest_of(root)
    facts = Facts(run.path, *(json.loads((run.path / name).read_text()) for name in ("manifest.json", "metrics.json")))
    del facts.metrics["evaluate"]
    facts.metrics["partition"]["entities_by_type"] = {"a|b\n# <script>": 1}
    text = model_card(facts, "c")
    assert "Not evaluated: there was nothing held out." in text and r"| a\|b\\n# &lt;script> | 1 |" in text


def test_nothing_published_has_no_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_day(tmp_path, 1)
    write_config(tmp_path)
    for command in (["card"], ["mlflow", "file:x"]):
        assert transra(tmp_path, *command) == 2
        assert "nothing is published yet; run `transra run" in capsys.readouterr().err


def test_numbers_of_a_tree() -> None:
    tree = {"a": {"b": 1, "c": {"d": 0.5}}, "e": True, "f": None, "g": "x", "h": [1]}
    assert dict(numbers(tree)) == {"a.b": 1, "a.c.d": 0.5}


def test_without_mlflow_a_line_says_how_to_get_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    assert transra(root, "mlflow", "file:x") == 2
    assert "pip install '.[mlflow]'" in capsys.readouterr().err


def test_mlflow_has_a_run_once(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is an extra of its own, and not among those of the tests")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri, run = f"file:{root}/mlruns", latest_of(root)
    for added in (True, False):
        assert transra(root, "mlflow", uri, "--json") == 0
        assert json.loads(capsys.readouterr().out)["added"] is added
    mlflow.set_tracking_uri(uri)
    (found,) = mlflow.search_runs(experiment_names=["c"], output_format="list")
    assert found.info.run_name == run.id and found.data.params["operator"] == "transr"
    assert found.data.metrics["evaluate.mrr"] == pytest.approx(run.metrics()["evaluate"]["mrr"])
    assert "evaluate.hits_at_10" in found.data.metrics
    assert list((root / "mlruns").glob("*/*/artifacts/manifest.json"))
