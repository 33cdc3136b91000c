"""The ranker beside LightGBM and FuxiCTR, on the same rows and columns of each data set.

    make bench-rank
    python -m benchmarks.ranking.bench_rank --data demo globo --models none attention fuxictr_dcnv2_pretrained

Ours: `transra` makes and trains the graph, then each arm is a process of its own. Peers run in environments of their
own. Every model's finished part is a JSON file below benchmarks/out/rank; the same command makes what is missing.
"""

import argparse
import json
import os
import resource
import shutil
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.files.publish import write_json
from benchmarks.environment import OUT, REPOSITORY, machine, save, surroundings, timed_process
from benchmarks.ranking.comparison.data import ARMS, DATA_SETS, ranker_config, write_config
from benchmarks.ranking.comparison.rows import prepared_rows
from benchmarks.ranking.comparison.scores import (
    OURS,
    Judge,
    auc_tree,
    best_boosting,
    end_to_end_ratio,
    probabilities,
    speed_ratio,
    table,
    worst,
)
from ranker.config.arms import ARMS as KNOWN_ARMS
from ranker.evaluation.comparison import sigmoid
from ranker.experiment.reuse import digest
from ranker.training.trainer import EVALUATIONS

RANK = OUT / "rank"
RESULT = OUT / "rank.json"
PEERS = OUT / "rank_peers"
BOOSTED = {f"lightgbm_{kind}": kind for kind in ("plain", "counts", "lists", "cosines")}
FUXI = {
    "fuxictr_dcnv2": ["dcnv2"],
    "fuxictr_dcnv2_pretrained": ["dcnv2", "--pretrained"],
    "fuxictr_din": ["din"],
    "fuxictr_din_pretrained": ["din", "--pretrained"],
}
MODELS = [*ARMS, *BOOSTED, *FUXI]
SPEED_BATCH = 2048
FUXI_LR, FUXI_DIMENSION = 1e-3, 64  # FuxiCTR's own rate; the dimension of vectors where there are none
FUXI_CVR_EPOCHS = 10  # at most, by validation: where clicks are known, it trains CVR on these alone, which are few
PROTOCOL = (
    "one seed, one thread, each model a process; same rows, split and columns; nothing tuned. AUC, gAUC, NE and "
    "calibration: test days, read once. Ours: the config's training, CTR and CVR in one model. LightGBM: all training "
    "rows, rounds by validation; `lightgbm` is, of the features without our vectors, those best on validation. "
    "FuxiCTR: a model a task, CVR on clicks; our batch size, epochs, validations, share of negatives and network "
    "(hidden units, dropout, cross layers and rank; DIN's attention 64 units), embeddings of 64, Adam at 0.001; "
    "pretrained: our frozen vectors in place of ids' embeddings. examples/s: training steps at one batch size for ours "
    "and FuxiCTR, of LightGBM training rows over seconds of fitting; seconds: from raw impressions to predictions of "
    "the test rows, all tasks, vectors given; differences: paired 95 % bootstraps over users"
)


def measured(command: list[str]) -> dict[str, float]:
    """Seconds, seconds of processor time (which other jobs lengthen little) and peak memory of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, peak = timed_process(command, REPOSITORY)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor_seconds": processor, "peak_bytes": peak}


class Bench:
    """One data set: its parts by model, each made once, and what they say together."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.options, self.data = name, options, DATA_SETS[name]
        size = "" if options.impressions is None else f"-{options.impressions}"
        self.directory = RANK / f"{name}{size}" / f"seed-{options.seed}"
        self.predictions = self.directory / "predictions"
        self.predictions.mkdir(parents=True, exist_ok=True)
        self.path = write_config(self.data, options.root, options.impressions, options.seed, self.directory)
        self.config = ranker_config(self.path)
        self.key = digest(json.loads(self.path.read_text()))
        self.seed = options.seed

    def part(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` returns, from an earlier call where there was one with the same config and vectors."""
        path, key = self.directory / "parts" / f"{name}.json", self.key
        if name != "vectors" and self.run is not None:
            key = digest([key, self.run.name])
        if path.exists() and (found := json.loads(path.read_text()))["key"] == key:
            return found
        path.parent.mkdir(exist_ok=True)
        told = {"key": key, "load": os.getloadavg()[0], "at": datetime.now(timezone.utc).isoformat("T", "seconds")}
        write_json(path, made := make() | told)
        print(f"{self.name}: {name}, {made['seconds']:.0f} s", file=sys.stderr, flush=True)
        return made

    @cached_property
    def run(self) -> Path | None:
        """The run with the vectors that all models are given."""
        if not self.data.graph:
            return None
        if self.options.run is not None:
            return self.options.run.resolve()
        workspace = RANK / self.name / "workspace"
        words = [str(self.data.path), "--root", str(self.options.root), "--workspace", str(workspace), "--quiet"]

        def make() -> dict[str, Any]:
            stages = [
                measured([sys.executable, "-m", "pipeline.cli", s, *words]) for s in ("partition", "train", "export")
            ]
            return {key: sum(stage[key] for stage in stages) for key in ("seconds", "processor_seconds")}

        self.part("vectors", make)
        return (workspace / "latest").resolve()

    @property
    def _common(self) -> list[str]:
        return ["--root", str(self.options.root), *([] if self.run is None else ["--run", str(self.run)])]

    @property
    def rows(self) -> Path:
        return self.directory / "rows"

    def _rows(self) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            shutil.rmtree(self.rows, ignore_errors=True)
            command = [sys.executable, "-m", "benchmarks.ranking.comparison.rows"]
            return measured([*command, str(self.path), str(self.rows), *self._common])

        return self.part("rows", make)

    def model(self, name: str) -> dict[str, Any]:
        """The part of a model, without metrics."""
        self._rows()
        if name in ARMS:
            return self.part(name, lambda: self._ours(name))
        if name in BOOSTED:
            return self.part(name, lambda: self._boosted(name))
        return self.part(name, lambda: self._fuxi(name))

    def _ours(self, arm: str) -> dict[str, Any]:
        out, speed = self.directory / "ours" / arm, self.directory / f"speed-{arm}.json"
        shutil.rmtree(out, ignore_errors=True)
        vectors = [] if self.run is None else ["--vectors", str(self.run)]
        command = [sys.executable, "-m", "ranker", str(self.path), "--root", str(self.options.root), *vectors]
        found = measured([*command, "--out", str(out), "--arms", arm])
        words = ["--rows", str(self.rows), "--arm", arm, "--batch", str(self.speed_batch), "--out", str(speed)]
        measured([sys.executable, "-m", "benchmarks.ranking.comparison.speed", str(self.path), *self._common, *words])
        self._keep_ours(arm, out)
        return {**found, "speed": json.loads(speed.read_text())}

    def _keep_ours(self, arm: str, out: Path) -> None:
        (path,) = (out / "arms" / arm).glob(f"*/seed-{self.seed}/test_logits.npz")
        with np.load(path) as logits:
            for task in self.config.labels.tasks:
                np.save(self._predicted(arm, task), sigmoid(logits[task][self.judge.truth.rows(task)]))

    def _boosted(self, name: str) -> dict[str, Any]:
        out, kind = self.directory / f"{name}.json", BOOSTED[name]
        python = interpreter(self.options.lightgbm)
        words = [
            "--features",
            kind,
            "--seed",
            str(self.seed),
            "--out",
            str(out),
            "--predictions",
            str(self.predictions),
        ]
        found = measured([python, "-m", "benchmarks.ranking.comparison.peers", str(self.path), *self._common, *words])
        told = json.loads(out.read_text())
        for task in self.config.labels.tasks:
            (self.predictions / f"lightgbm-{kind}-{task}-{self.seed}.npy").rename(self._predicted(name, task))
        by_task = {task: told["lightgbm"][task][kind] for task in self.config.labels.tasks}
        first = by_task[self.config.labels.tasks[0]]
        rates = {
            f"examples_per_{key}second": first["rows_of_training"] / first[f"fit_{key}seconds"]
            for key in ("", "processor_")
        }
        losses = {task: one["valid_logloss"] for task, one in by_task.items()}
        return {**found, "speed": {"batch": None, **rates}, "valid_logloss": losses, "version": told["version"]}

    def _fuxi(self, name: str) -> dict[str, Any]:
        rows, tasks = self._rows(), {task: self._fuxi_task(name, task) for task in self.config.labels.tasks}
        found = {key: rows[key] + sum(one[key] for one in tasks.values()) for key in ("seconds", "processor_seconds")}
        first = tasks[self.config.labels.tasks[0]]
        peak = max(rows["peak_bytes"], *(one["peak_bytes"] for one in tasks.values()))
        return {**found, "peak_bytes": peak, "speed": first["speed"], "by_task": tasks, "versions": first["versions"]}

    def _fuxi_task(self, name: str, task: str) -> dict[str, Any]:
        """One task; its speed is measured in the same process, and not part of its seconds."""
        out = self.directory / f"{name}-{task}.json"
        command = [
            interpreter(self.options.fuxictr),
            "benchmarks/ranking/comparison/fuxictr_models.py",
            str(self.rows / task),
            *FUXI[name],
        ]
        words = ["--settings", json.dumps(self._fuxi_settings(task)), "--out", str(out)]
        found = measured([*command, *words, "--predictions", str(self._predicted(name, task))])
        told = json.loads(out.read_text())
        return {
            **told,
            "seconds": found["seconds"] - told["speed_seconds"],
            "processor_seconds": found["processor_seconds"] - told["speed_processor_seconds"],
        }

    def _fuxi_settings(self, task: str) -> dict[str, Any]:
        training, backbone = self.config.training, self.config.backbone
        few = task == "cvr" and self.config.labels.click is not None
        return {
            "batch": training.batch_size or training.chosen_batch_size(self._expected_rows),
            "epochs": FUXI_CVR_EPOCHS if few else training.epochs,
            "eval_every": None if few else training.eval_every,
            "evaluations": 1 if few else EVALUATIONS,
            **{key: getattr(backbone, key) for key in ("hidden", "cross_layers", "cross_rank", "dropout")},
            "dimension": FUXI_DIMENSION,
            "lr": FUXI_LR,
            "seed": self.seed,
            "speed_batch": self.speed_batch,
        }

    @property
    def _expected_rows(self) -> float:
        counts = self.summary.counts["train"]
        positives = counts["clicks"] or counts["conversions"]
        return positives + self.config.training.keep_negatives * (counts["rows"] - positives)

    @property
    def speed_batch(self) -> int:
        """Batches at which examples a second are counted: even ones where the training rows are few."""
        return even_batch(self.summary.counts["train"]["rows"], self.config.training.keep_negatives)

    @cached_property
    def summary(self) -> Any:
        return prepared_rows(self.config, self.options.root, self.run, self.rows)

    @cached_property
    def judge(self) -> Judge:
        return Judge.of(self.rows / "prepared", self.summary, self.config.bootstrap)

    def _predicted(self, model: str, task: str) -> Path:
        return self.predictions / f"{model}-{task}.npy"

    def outcome(self, models: list[str]) -> dict[str, Any]:
        """Parts with their metrics, and the differences of `attention` to all others."""
        names = [name for name in models if self.data.graph or not needs_vectors(name)]
        parts = {name: self.model(name) for name in names}
        loaded = {(n, t): probabilities(self._predicted(n, t)) for n in names for t in self.config.labels.tasks}
        for name, part in parts.items():
            part["tasks"] = {task: self.judge.metrics(task, loaded[name, task]) for task in self.config.labels.tasks}
        differences = {
            task: self.judge.differences(task, loaded[OURS, task], {n: loaded[n, task] for n in names if n != OURS})
            for task in self.config.labels.tasks
            if OURS in names
        }
        return {
            "models": parts,
            "lightgbm": {task: best_boosting(parts, task) for task in self.config.labels.tasks},
            "differences": differences,
            "ratio": speed_ratio(parts),
            "end_to_end_ratio": end_to_end_ratio(parts),
            "end_to_end_processor_ratio": end_to_end_ratio(parts, "processor_seconds"),
            "rows": self.summary.counts,
            "run": None if self.run is None else self.run.name,
            "vectors": self.part("vectors", dict) if self.data.graph and self.options.run is None else None,
            "settings": {task: self._fuxi_settings(task) for task in self.config.labels.tasks},
        }


def even_batch(rows: int, keep_negatives: float) -> int:
    """SPEED_BATCH, or what cuts all rows of a small log (of which FuxiCTR trains a share) into even batches."""
    trained = int(rows * keep_negatives)
    return SPEED_BATCH if trained > 8 * SPEED_BATCH else -(-trained // -(-trained // SPEED_BATCH))


def needs_vectors(name: str) -> bool:
    if name in ARMS:
        return KNOWN_ARMS[name].vectors != "none"
    return name == "lightgbm_cosines" or name.endswith("_pretrained")


def interpreter(environment: Path) -> str:
    python = environment / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(f"{python}: expected the environment that `make bench-rank` makes")
    return str(python)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--data", nargs="+", choices=DATA_SETS, default=["demo", "globo", "complete_journey", "criteo"]
    )
    arguments.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    arguments.add_argument("--impressions", type=int, help="about so many of each log: those of a share of its users")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument(
        "--root", type=Path, default=REPOSITORY, help="where relative paths of configs start (the checkout)"
    )
    arguments.add_argument("--run", type=Path, help="a run with vectors that are there already (with one data set)")
    arguments.add_argument("--lightgbm", type=Path, default=PEERS / "lightgbm", help="an environment with LightGBM")
    arguments.add_argument("--fuxictr", type=Path, default=PEERS / "fuxictr", help="an environment with FuxiCTR")
    options = arguments.parse_args()
    if options.run is not None and len(options.data) > 1:
        arguments.error("--run: expected one data set in --data")
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"{machine()}\n{PROTOCOL}", flush=True)
    data = json.loads(RESULT.read_text())["data"] if RESULT.exists() else {}
    for name in options.data:
        data[name] = Bench(name, options).outcome(options.models)
        rows = ", ".join(f"{split} {counts['rows']:,}" for split, counts in data[name]["rows"].items())
        print(f"\n{table(name, data[name])}\nimpressions: {rows}", flush=True)
        save("rank", concluded(data))


def concluded(data: dict[str, Any]) -> dict[str, Any]:
    """The ratios are those of the data set on which they are least."""
    ratios = {key: {name: one[key] for name, one in data.items()} for key in ("ratio", "end_to_end_ratio")}
    return {
        **{key: worst(found) for key, found in ratios.items()},
        **{f"{key}s": found for key, found in ratios.items()},
        "auc": {name: auc_tree(one) for name, one in data.items()},
        "data": data,
        "protocol": PROTOCOL,
        **surroundings(["torch", "pyarrow"]),
    }


if __name__ == "__main__":
    main()
