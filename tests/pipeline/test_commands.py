"""Every command on every config that comes along: the table says which fit, and a new one of either must be in it."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.embeddings import Embeddings
from benchmarks.ranking import complete_journey_impressions
from demo_world import WorldParameters, generate
from pipeline.arguments import parser
from pipeline.cli import main
from pipeline.config.loading import load_config
from ranker.__main__ import load as load_ranker
from ranker.data.log.named_columns import named_columns
from tests.conftest import SHARED_DATA

REPOSITORY = Path(__file__).resolve().parents[2]
# Whether a config has a ranker, and whether it reads the real data sets beside the checkout.
CONFIGS = {
    "configs/complete_journey.json": (False, True),
    "configs/complete_journey_rank.json": (True, True),
    "configs/demo.json": (False, False),
    "configs/demo_large.json": (True, False),
    "configs/demo_large_onsite.json": (True, False),
    "configs/demo_rank.json": (True, False),
    "configs/fb15k237.json": (False, True),
    "configs/globo.json": (False, True),
    "configs/globo_rank.json": (True, True),
}
RANKER_ONLY = {"benchmarks/criteo_rank.json"}  # for `python -m ranker`
ALL = set(CONFIGS)
RANKED = {name for name, (ranked, _) in CONFIGS.items() if ranked}
PUBLISHED = {"configs/demo.json"}  # has run in the fixture; on the others stages say what they would do
FITS = {
    "partition": ALL,
    "train": ALL,
    "evaluate": ALL,
    "export": ALL,
    "rank": RANKED,
    "fit": {"configs/demo_rank.json"},
    "score": set(),  # none of them has a scorer yet
    "run": ALL,
    "tune": ALL,
    "features": set(),  # needs a ranker and a published run: test_features.py has both
    "status": ALL,
    "promote": set(),
    "rollback": set(),  # need a second run: test_gate.py has one
    "simulate": set(),  # needs a ranking: test_simulate.py has one
    "purge": PUBLISHED,
    "clean": PUBLISHED,
    "neighbors": PUBLISHED,
    "explain": PUBLISHED,
    "serve": set(),  # does not end: test_serve.py starts and ends it
    "infer": PUBLISHED,
    "report": set(),  # tests hide its library: test_report.py has both
    "card": PUBLISHED,
    "mlflow": set(),  # needs MLflow: test_model_keepers.py has it where it is installed
    "config check": ALL,
    "config show": ALL,
    "config pbg": PUBLISHED,
}
WITHOUT_CONFIG = {"config schema", "demo-data", "init"}
ELSEWHERE = {"plan"}  # measures speeds for some seconds: test_scale.py has it
STAGES = {"partition", "train", "evaluate", "export", "rank", "fit", "run"}
QUICK = ["graph.memory_limit=2GB", "model.epochs=1", "model.dimension=8", "model.workers=1"]


def leaves(command: argparse.ArgumentParser, path: str = "") -> Iterator[str]:
    """Every command of a parser that has none below it."""
    below = [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield path.strip()
    for action in below:
        for name, child in action.choices.items():
            yield from leaves(child, f"{path} {name}")


def shipped() -> set[str]:
    """Every config in the repository."""
    found = [path for folder in ("configs", "benchmarks") for path in (REPOSITORY / folder).glob("*.json")]
    return {str(path.relative_to(REPOSITORY)) for path in found if path.name != "schema.json"}


def test_every_command_and_every_config_is_in_the_table() -> None:
    assert set(leaves(parser())) == {*FITS, *WITHOUT_CONFIG, *ELSEWHERE}
    assert shipped() == {*CONFIGS, *RANKER_ONLY}
    assert {name for name in CONFIGS if load_config(REPOSITORY / name).ranker} == RANKED


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with small worlds where the configs look for large ones, and the real data beside it. The demo has run."""
    root = tmp_path_factory.mktemp("commands") / "root"
    for name in ("demo", "demo_large"):
        generate(root / "data" / name, WorldParameters(users=1000, impressions=10_000, days=30, seed=1), None)
    if SHARED_DATA.is_dir():
        (root.parent / "shared").mkdir()
        (root.parent / "shared/data").symlink_to(SHARED_DATA)
        journey = root / "data/complete_journey/impressions.parquet"
        journey.parent.mkdir()
        complete_journey_impressions.write(SHARED_DATA / "complete_journey", journey)
        (root / "data/globo").mkdir()
        section = load_config(REPOSITORY / "configs/globo_rank.json").ranker
        assert section is not None
        columns = {name: [0] for name in named_columns(section)}  # looked at, and not read
        pq.write_table(pa.table(columns), root / "data/globo/impressions.parquet")
    for config in PUBLISHED:
        assert main(["run", *arguments(root, config), "--quiet"]) == 0
    return root


def arguments(root: Path, config: str) -> list[str]:
    return [str(REPOSITORY / config), "--root", str(root), *(word for one in QUICK for word in ("--set", one))]


def some_user(root: Path) -> str:
    """One with a vector: in so small a world many have no training edge."""
    export = Embeddings.open(root / "runs/demo/latest")
    return export.id("user", int(export.trained("user").argmax()))


@pytest.mark.parametrize("config", sorted(CONFIGS))
@pytest.mark.parametrize("command", sorted(FITS))
def test_a_command_on_a_config(root: Path, capsys: pytest.CaptureFixture[str], command: str, config: str) -> None:
    """Exit code 0 where the table says that it fits, and else 2 with a line that says why."""
    if CONFIGS[config][1] and not SHARED_DATA.is_dir():
        pytest.skip(f"the real data sets are not at {SHARED_DATA}")
    words = [*command.split(), *arguments(root, config)]
    if command == "neighbors":
        words += ["pin", "p1"]
    if command == "explain":
        words += [some_user(root), "p1"]
    if command == "serve":
        words += ["--host", "192.0.2.1"]  # no address of this machine
    if command == "score":
        words += [str(root / "data/demo/impressions"), str(root / "scored.parquet")]
    if command == "infer":
        words += [str(root / "data/demo/conversions"), str(root / "inferred.parquet"), "--source", "conversions"]
    if command == "mlflow":
        words += [(root / "mlruns").as_uri()]
    if command == "promote":
        words += ["no-run"]
    if command == "features":
        words += [str(root / "features.parquet")]
    if command == "tune" or (command in STAGES and config not in PUBLISHED):
        words += ["--dry-run"]
    code = main(words)
    captured = capsys.readouterr()
    assert code == (0 if config in FITS[command] else 2), captured.err
    assert captured.err.startswith("transra: ") if code else captured.out


@pytest.mark.parametrize("config", sorted(RANKED))
def test_a_resolved_config_is_one_for_the_ranker_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str
) -> None:
    assert main(["config", "show", str(REPOSITORY / config)]) == 0
    (tmp_path / "resolved.json").write_text(capsys.readouterr().out)
    assert load_ranker(tmp_path / "resolved.json", None) == load_config(REPOSITORY / config).ranker


@pytest.mark.parametrize("config", sorted(RANKER_ONLY))
def test_a_config_for_the_ranker_alone(config: str) -> None:
    assert load_ranker(REPOSITORY / config, ["all"]).arms


def test_commands_without_a_config(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((REPOSITORY / "configs/schema.json").read_text())
    sizes = ["--users", "1000", "--impressions", "10000", "--days", "30", "--seed", "1"]
    assert main(["demo-data", str(root / "data/demo"), *sizes]) == 0
