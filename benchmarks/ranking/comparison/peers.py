"""LightGBM on the rows, split and columns of a ranker's config, with the features that a team makes by hand.

    python -m benchmarks.ranking.comparison.peers configs/demo_rank.json --run runs/demo_rank/latest

Prints one JSON object: by features and task, AUC, gAUC, NE, log loss and calibration on the test days, and the log
loss on those of validation. Features are `plain` (the tabular columns), `counts` (and rates of earlier days), `lists`
(and order, age and matches of lists) and `cosines` (and cosines of exported vectors). Runs where LightGBM is installed
beside the project. One setting, not tuned; rounds are chosen on the validation days.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from artifacts.embeddings import Embeddings
from benchmarks.ranking.comparison.data import ranker_config
from benchmarks.ranking.comparison.features import Array, Features, Rows, cosines, counts, lists, plain
from ranker.config.sections import RankerConfig
from ranker.data.ids.attributes import Attributes
from ranker.data.ids.exports import Export
from ranker.data.ids.slots import Layout
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.records import SPLITS, judged
from ranker.evaluation.metrics import summary

KINDS = ("plain", "counts", "lists", "cosines")
ROUNDS, PATIENCE = 2_000, 50
SETTINGS = {"objective": "binary", "learning_rate": 0.05, "verbosity": -1, "deterministic": True, "num_threads": 1}
SETTINGS |= {"feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1, "min_data_in_leaf": 50}
FEW, LEAVES = 10_000, (7, 31)  # positives below which trees are small


class Boosting:
    """The features of all rows, made once, and a model for each kind of them."""

    def __init__(self, config: RankerConfig, root: Path, run: Path | None) -> None:
        self.config = config
        exports = {} if run is None else {"given": Export.of_run(run)}
        log = ImpressionLog(config, root, attributes=Attributes.of(config, exports, Forgotten()))
        self.export = Embeddings(exports["given"].path) if exports else None
        self.rows = Rows.of(log, self.export)
        self.split = Windows.of(log).split(self.rows.times)
        self.users = self.rows.hashes[:, Layout.of(config).slot(config.user).first]
        self._made: dict[str, Features] = {}

    def _features(self, kind: str, task: str, prior: float) -> Features:
        """Those of a kind and of the kinds before it; `prior` is the task's rate in training."""
        found: Features = {}
        for one in KINDS[: KINDS.index(kind) + 1]:
            name = f"{one} {task}" if one == "counts" else one
            if name not in self._made:
                self._made[name] = self._make(one, task, prior)
            found |= self._made[name]
        return found

    def _make(self, kind: str, task: str, prior: float) -> Features:
        if kind == "counts":
            return counts(self.rows, self.config, task, prior)
        if kind == "cosines":
            return cosines(self.rows, self.config, self.export) if self.export else {}
        return {"plain": plain, "lists": lists}[kind](self.rows, self.config)

    def run(self, task: str, kinds: list[str], seed: int, predictions: Path | None) -> dict[str, Any]:
        """Metrics on test by kind of features."""
        y = self.rows.click if task == "ctr" else self.rows.conversion
        rows = judged(task, self.rows.click, self.rows.conversion)
        parts = [rows & (self.split == index) for index in range(len(SPLITS))]
        found: dict[str, Any] = {}
        for kind in kinds:
            features = self._features(kind, task, float(y[parts[0]].mean()))
            started = time.perf_counter()
            p, fitted = self._fit(features, y, parts, seed)
            found[kind] = summary(y[parts[2]], p, self.users[parts[2]]) | fitted
            found[kind] |= {"features": len(features), "seconds": time.perf_counter() - started}
            print(f"{task} {kind}: {found[kind]}", file=sys.stderr, flush=True)
            if predictions is not None:
                np.save(predictions / f"lightgbm-{kind}-{task}-{seed}.npy", p)
        return found

    def _fit(self, features: Features, y: Array, parts: list[Array], seed: int) -> tuple[Array, dict[str, Any]]:
        """Probabilities of the test rows; the rounds that were best on validation, and what they reached there."""
        started, processor = time.perf_counter(), time.process_time()
        table = np.column_stack([np.asarray(values, np.float32) for values in features.values()])
        categoricals = [index for index, name in enumerate(features) if name in self.config.categoricals]
        train = lightgbm.Dataset(table[parts[0]], y[parts[0]], categorical_feature=categoricals)
        valid = lightgbm.Dataset(table[parts[1]], y[parts[1]], reference=train)
        leaves = LEAVES[int(y[parts[0]].sum() >= FEW)]
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        model = lightgbm.train(
            SETTINGS | {"num_leaves": leaves, "seed": seed}, train, ROUNDS, valid_sets=[valid], callbacks=[stop]
        )
        spent = {"fit_seconds": time.perf_counter() - started, "fit_processor_seconds": time.process_time() - processor}
        found = {
            "rounds": model.best_iteration,
            "valid_logloss": model.best_score["valid_0"]["binary_logloss"],
            **spent,
        }
        return np.asarray(model.predict(table[parts[2]])), found | {"rows_of_training": int(parts[0].sum())}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config", type=Path)
    arguments.add_argument("--run", type=Path, help="a run with an export, for `cosines`")
    arguments.add_argument("--root", type=Path, default=Path(), help="where relative paths start (here)")
    arguments.add_argument("--features", default=",".join(KINDS), help="which kinds, of " + ", ".join(KINDS))
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--predictions", type=Path, help="a directory for the probabilities of the test rows")
    arguments.add_argument("--out", type=Path, help="a file for the JSON object, in place of stdout")
    options = arguments.parse_args()
    config = ranker_config(options.config)
    if not set(options.features.split(",")) <= set(KINDS):
        arguments.error(f"expected features among {', '.join(KINDS)}")
    kinds = [kind for kind in options.features.split(",") if kind != "cosines" or options.run]
    boosting = Boosting(config, options.root, options.run)
    found = {task: boosting.run(task, kinds, options.seed, options.predictions) for task in config.labels.tasks}
    told = {"config": str(options.config), "seed": options.seed, "lightgbm": found, "version": lightgbm.__version__}
    if options.out is None:
        print(json.dumps(told))
    else:
        options.out.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
