"""Numbers that no failure explains: a split of which nothing is known, a ranking worse than a coin; or nothing odd."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.cli import main
from pipeline.stages.told.odd_numbers import odd_ranking, odd_retrieval
from ranker import rank
from ranker.config.arms import ARMS
from ranker.data.ids.exports import Export
from tests.worlds.small_impressions import DAY, START, config, small_world

HOURS, PER_HOUR, READERS = 240, 40, 60
LATE = "later times in graph.split.time"


def news(path: Path, lives: int) -> None:
    """Clicks of ten days on articles that live for so many hours, one new one an hour."""
    draw = np.random.default_rng(0)
    hour = np.repeat(np.arange(HOURS), PER_HOUR)
    frame = pd.DataFrame({"ts": START + hour * 3600, "user_id": draw.integers(0, READERS, len(hour))})
    frame["article_id"] = np.maximum(hour - draw.integers(0, lives, len(hour)), 0)
    path.mkdir()
    frame.to_parquet(path / "clicks.parquet")


def config_of(root: Path, valid_from: int, test_from: int) -> Path:
    """The split in hours since the log began."""
    moments = {"valid_from": START + valid_from * 3600, "test_from": START + test_from * 3600}
    sides = {"lhs": {"type": "user", "column": "user_id"}, "rhs": {"type": "article", "column": "article_id"}}
    graph = {
        "sources": {"clicks": {"path": "log/clicks.parquet", "time_column": "ts", "time_unit": "s"}},
        "entities": {"user": {}, "article": {}},
        "relations": [{"name": "click", "source": "clicks", **sides}],
        "split": {"time": moments},
    }
    model = {"operator": "transra", "anchors": ["click"], "dimension": 8, "epochs": 3, "workers": 1}
    path = root / "c.json"
    path.write_text(json.dumps({"graph": graph, "model": model}))
    return path


@pytest.mark.reports
def test_a_split_of_which_training_knows_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the stage, again where it is up to date, in its JSON and on the page."""
    news(tmp_path / "log", lives=6)
    command = ["run", str(config_of(tmp_path, 192, 216)), "--root", str(tmp_path)]
    assert main(command) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(said) == 2 and LATE in said[0]
    assert re.match(
        r"evaluate: warning: 100.0% of the 9\d\d test edges .* \(article 100.0%\), so nothing is known", said[0]
    )
    assert re.match(r"evaluate: warning: AUC 0.\d{4} is below 0.5: held-out edges rank behind random ones", said[1])
    assert main(command) == 0
    assert said == [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert main([*command, "--json"]) == 0
    odd = json.loads(capsys.readouterr().out)["stages"]["evaluate"]["odd"]
    assert [f"evaluate: warning: {line}" for line in odd] == said
    page = (tmp_path / "runs/c/latest/report.html").read_text()
    assert page.count('<p class="odd">') == 2 and "have an end without a training edge" in page


@pytest.mark.parametrize("lives", [6, 300])
def test_a_split_that_training_can_know_is_not_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lives: int
) -> None:
    """By hours, or of articles that last."""
    news(tmp_path / "log", lives)
    hours = (238, 239) if lives == 6 else (192, 216)
    command = ["run", str(config_of(tmp_path, *hours)), "--root", str(tmp_path), "--until", "evaluate"]
    assert main(command) == 0
    assert "without a training edge" not in capsys.readouterr().out


def test_an_arm_worse_than_a_coin_is_said(tmp_path: Path) -> None:
    """In a world whose clicks are turned round on the test days; in the same one as it is, nothing is."""
    torch.set_num_threads(1)
    world = small_world(tmp_path, 6000)
    assert list(odd_ranking(ranked(world, tmp_path / "as_it_is"))) == []
    late = np.asarray(world.columns["ts"]) >= START + 8 * DAY
    world.write(click=np.where(late, 1 - world.columns["click"], world.columns["click"]).astype(np.int8))
    (line,) = odd_ranking(ranked(world, tmp_path / "turned"))
    assert re.match(r"ctr: the test AUC of id_concat 0.[0-4]\d{3} \[0.\d{4}, 0.[0-4]\d{3}\] lies below 0.5", line)
    assert "later times in ranker.split" in line


def ranked(world: Any, out: Path) -> dict[str, Any]:
    out.mkdir()
    split = {"valid_from": "2026-01-08", "test_from": "2026-01-09"}
    labels = {"click": "click"}
    settings = config(arms={"id_concat": ARMS["id_concat"]}, compare=["all"], labels=labels, split=split)
    export = {"base": Export(world.export, START - 1)}
    return rank(settings, world.root, export, out, lambda step, done: None, out / "curves", tell=lambda report: None)


def test_popularity_ahead_of_the_vectors_is_odd_beyond_chance() -> None:
    rows = [
        ("click", 1285, 0.0296, 0.0671),
        ("save", 125, 0.072, 0.08),  # 125 queries do not tell these apart
        ("visit", 3884, 0.0173, 0.0167),
        ("many", 1_000_000, 0.05, 0.07),  # popularity was asked by 2,000 heads alone
        ("none", 0, 0.0, None),
    ]
    (line,) = odd_retrieval("recall@20", rows, 2000)
    assert line.startswith("the tails of 'click' are found better by how popular they are, recall@20 0.0671, than by")
    assert len(list(odd_retrieval("recall@20", rows, 1_000_000))) == 2
