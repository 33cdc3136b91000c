"""Values without bound: every number of the config has one, or a reason, and what no machine has is refused at once."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.cli import main
from pipeline.config.schema import config_schema
from tests.partitioning.test_errors import config

# Numbers without an upper bound, and why.
UNBOUNDED = {
    "min": "a bound that a check compares a measurement with; nothing is sized by it",
    "max": "a bound that a check compares a measurement with; nothing is sized by it",
    "at_most": "a bound that a column's values are compared with; nothing is sized by it",
    "observed_until": "epoch seconds, which the type Moment holds between 1970 and 2200",
    "valid_from": "epoch seconds, which the type Moment holds between 1970 and 2200",
    "test_from": "epoch seconds, which the type Moment holds between 1970 and 2200",
    "until": "epoch seconds, which the type Moment holds between 1970 and 2200",
    "relation_weights": "compared with MOST_WEIGHT by the section, which names the relation",
}


def numbers(node: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of a number below a node, with the key of the config that it belongs to."""
    if isinstance(node, dict):
        if node.get("type") in ("integer", "number"):
            yield key, node
        for name, child in node.items():
            if name == "properties":
                for property, schema in child.items():
                    yield from numbers(schema, property)
            else:
                yield from numbers(child, key)
    elif isinstance(node, list):
        for child in node:
            yield from numbers(child, key)


def test_every_number_is_bounded_or_has_a_reason() -> None:
    found = list(numbers(config_schema(), ""))
    assert len(found) > 60
    open = {key for key, schema in found if "maximum" not in schema and "exclusiveMaximum" not in schema}
    assert open == UNBOUNDED.keys()


HUGE = 10**23
RANKER = {
    "impressions": "log.parquet",
    "slots": {"user_id": {"side": "user"}},
    "numerics": {"n": "linear"},
    "labels": {"click": "click"},
}


def written(root: Path, **changes: Any) -> Path:
    if not (root / "log.parquet").exists():
        pd.DataFrame({"user": [1, 2], "pin": ["a", "b"], "ts": [1, 2]}).to_parquet(root / "log.parquet")
    model = {"operator": "transr", "dimension": 4, "epochs": 1, "workers": 1}
    (root / "c.json").write_text(json.dumps({"graph": config(), "model": model, **changes}))
    return root / "c.json"


@pytest.mark.parametrize(
    ("override", "code"),
    [
        (f"graph.threads={10**6}", 2),
        (f"graph.seed={HUGE}", 2),
        (f"model.seed={1 << 63}", 2),
        (f"evaluate.seed={HUGE}", 2),
        ("model.workers=10000", 2),
        ("model.edge_chunks=100000", 2),
        ("model.checkpoint_seconds=1e-320", 2),
        ("model.scale=1e300", 2),
        ("model.lr=1e300", 2),
        ("model.relation_weights={click: 1e300}", 2),
        ("graph.relations[0].half_life_days=1e-320", 2),
        (f"graph.partitions={10**6}", 2),
        ("graph.partitions=3000", 73),
        ("graph.sources.log.path=[" * 3000, 2),
        ("graph.sources.log.path=" + "[" * 3000 + "]" * 3000, 2),
        ("graph.sources.log.path=" + '{"a":' * 100_000, 2),
        ("graph.sources.log.path=\udc80", 2),
        ('graph.sources.log.path="\\ud800"', 2),
        ("graph.sources.log.path=log\0.parquet", 2),
        ('graph.relations[0].name="a\\u0000"', 2),
        ("graph.memory_limit=" + "9" * 40 + "GB", 2),
    ],
)
def test_what_no_machine_has_is_one_line(
    tmp_path: Path, override: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path)
    assert main(["partition", str(path), "--root", str(tmp_path), "--set", override]) == code
    error = capsys.readouterr().err
    assert error.startswith("transra: ") and len(error) < 400 and "internal" not in error
    assert all(line.startswith("transra: ") for line in error.splitlines())
    error.encode()


@pytest.mark.parametrize("depth", [101, 100_000])
def test_a_config_as_deep_as_a_well_is_refused(tmp_path: Path, depth: int, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.json").write_text('{"graph": ' + "[" * depth + "]" * depth + "}")
    assert main(["config", "check", str(tmp_path / "c.json"), "--root", str(tmp_path)]) == 2
    assert f"nested {depth + 1:,} levels deep; expected at most 100" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "code", "line"),
    [
        ({"training": {"seeds": [HUGE]}}, 2, "ranker.training.seeds[0]"),
        ({"ids": {"rows": 10**12}}, 2, "ranker.ids.rows"),
        ({"ids": {"rows": 1 << 32, "dim": 256}}, 73, "rank needs about"),
        ({"backbone": {"hidden": [1 << 20, 1 << 20]}}, 73, "rank needs about"),
    ],
)
def test_a_ranking_that_does_not_fit_is_refused_before_it_begins(
    tmp_path: Path, change: dict, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `rank` itself, whose graph is there already."""
    path = written(tmp_path)
    assert main(["run", str(path), "--root", str(tmp_path)]) == 0
    rows = {"user_id": [1, 2, 1, 2], "n": [1.0, 2, 3, 4], "click": [0, 1, 0, 1], "ts": [100, 101, 102, 103]}
    pd.DataFrame(rows).to_parquet(tmp_path / "impressions.parquet")
    arms = {"id_only": {"ids": True}}
    path = written(tmp_path, ranker={**RANKER, "impressions": "impressions.parquet", "arms": arms, **change})
    capsys.readouterr()
    assert main(["rank", str(path), "--root", str(tmp_path)]) == code
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("k", ["0", "-1", "1e3", str(1 << 40), "x"])
def test_how_many_neighbors_is_a_positive_number(k: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["neighbors", "c.json", "user", "1", "--k", k])
    assert caught.value.code == 2
    assert "expected a whole number from 1" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--root", "/data"], ["--root=/data"], ["--quiet"], ["--jsn"], ["-x"]])
def test_options_before_the_command_are_said_to_go_after_it(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*options, "run", "c.json"])
    assert caught.value.code == 2
    said = f"'{options[0]}' stands before the command; options go after it: transra run CONFIG --root DIR"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("help", ["-h", "--help", "--he"])
def test_help_stands_before_the_command(help: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([help])
    assert caught.value.code == 0
    assert "COMMAND" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"transra {version('transra')}\n"


@pytest.mark.parametrize("asked", [["user", "\udcff"], ["\udcff", "1"], ["user", "1", "--to", "\udcff"]])
def test_bytes_that_are_no_utf8_are_no_name(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["neighbors", "c.json", *asked])
    assert caught.value.code == 2
    assert "'\\udcff': expected UTF-8 text" in capsys.readouterr().err
