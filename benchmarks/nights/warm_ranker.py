"""A ranker of yesterday on the vectors of today: its weights as they are, on those that they learned and new ones."""

from pathlib import Path
from typing import Any

import torch

from pipeline.config.loading import load_config
from ranker import export_of, rank
from ranker.data.ids.exports import open_exports
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import Split
from ranker.evaluation.predictions import evaluate
from ranker.model.ranker_model import RankerModel

ARM = "attention"


def quiet(step: str, fraction: float) -> None:
    """No progress is shown."""


def aucs(config_path: Path, root: Path, yesterday: Path, today: Path) -> dict[str, float | None]:
    """AUC of clicks on the test days by a ranker that is trained on the vectors of the run `yesterday`: on these, and
    on those of the run `today`."""
    ranker: Any = load_config(config_path, []).with_arms([ARM]).ranker
    exports = {run.name: export_of(run) for run in (yesterday, today)}
    place = yesterday / "judged"
    place.mkdir(exist_ok=True)
    own = {yesterday.name: exports[yesterday.name]}
    trained = rank(ranker, root, own, place, quiet, place / "scalars", prepared=place / "prepared")
    (weights,) = place.glob("arms/*/*/seed-*/best_ctr.pt")
    config = ranker.of_compared()
    log = ImpressionLog(config, root)
    opened = open_exports({today.name: exports[today.name]}, config)
    records = place / "today"
    summary = prepare(log, Windows.of(log), opened, "today", records, quiet)
    model = RankerModel(config, config.arms[ARM], summary, opened[today.name])
    model.load_state_dict(torch.load(weights, weights_only=True))
    found = evaluate(model, Split.of(records, "test", summary), 0)
    return {"on_yesterday": trained["arms"][ARM]["ctr"]["auc"], "on_today": found["ctr"]["auc"]}
