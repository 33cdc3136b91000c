"""Who competes, and each training of it: weights, test predictions and a history, kept on disk."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch

from artifacts.embeddings import Embeddings
from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json
from artifacts.scalars import ScalarWriter
from ranker.config.arms import ArmConfig
from ranker.config.sections import RankerConfig
from ranker.data.prepare import Progress
from ranker.data.records import SPLITS, Split, Summary
from ranker.evaluation.attention import mean_attention
from ranker.evaluation.comparison import Judge, compare
from ranker.evaluation.predictions import Logits, Truth, predict
from ranker.experiment.reuse import DONE, Earlier, digest, export_identity, kept_place, place_of
from ranker.model.ranker_model import RankerModel
from ranker.processes import group
from ranker.processes.messages import from_first
from ranker.training.reports import Metrics, Report, TrialBegan, TrialEnded, TrialValidated
from ranker.training.trainer import Training
from ranker.training.weights import STATE, load_

KEPT = 3  # settings of an arm whose trainings stay beside each other: a change, and back, trains nothing again


@dataclass(frozen=True)
class Contestant:
    """An arm with the export that it reads; `name` is `<arm>@<export>` for all exports but the first."""

    name: str
    arm: ArmConfig
    export: int


@dataclass(frozen=True)
class Trials:
    """Trains contestants in `directory`: <contestant>/<digest>/seed-<seed>/ holds weights, test predictions and a
    history; the digest is of what they follow from. Of each contestant, those of the last KEPT digests stay.

    `scalars` has directories of the same names, where TensorBoard is asked for.
    """

    config: RankerConfig
    summary: Summary
    exports: Sequence[Embeddings]
    prepared: Path
    directory: Path
    scalars: Path
    log_identity: str
    tell: Callable[[Report], None]
    earlier: Earlier | None = None

    def place(self, contestant: Contestant, seed: int) -> Path:
        """Where a training is kept, beside those of other seeds."""
        return place_of(self._home(contestant), self._key(contestant)) / f"seed-{seed}"

    def _home(self, contestant: Contestant) -> Path:
        return self.directory / quote(contestant.name, safe="@")

    def _key(self, contestant: Contestant) -> str:
        export = self.export(contestant)
        read = export_identity([export]) if export else None
        return digest([self.log_identity, contestant.arm.model_dump(), read])

    def _is_done(self, contestant: Contestant, seed: int) -> bool:
        """Whether it is finished, here or in an earlier ranking, which is taken over; its place is made, and that of
        the settings used longest ago goes."""
        home, key = self._home(contestant), self._key(contestant)
        place = kept_place(home, key, KEPT) / f"seed-{seed}"
        if self.earlier is not None and not (place / DONE).exists():
            self.earlier.take(home.name, key, place.name, place)
        place.mkdir(exist_ok=True)
        return (place / DONE).exists()

    def export(self, contestant: Contestant) -> Embeddings | None:
        """The vectors that a contestant reads, if it does."""
        return self.exports[contestant.export] if contestant.arm.vectors != "none" else None

    def run(self, contestant: Contestant, seed: int, progress: Progress, done: float, share: float) -> None:
        """Trains and predicts, unless that is done already."""
        if from_first(lambda: self._is_done(contestant, seed)):
            self.tell(TrialEnded(contestant.name, seed, 0.0, reused=True))
            return
        self.tell(TrialBegan(contestant.name, seed))
        progress(f"{contestant.name} seed {seed}", done)
        place = self.place(contestant, seed)
        train, valid, test = (Split.of(self.prepared, name, self.summary) for name in SPLITS)
        torch.manual_seed(seed)
        model = RankerModel(self.config, contestant.arm, self.summary, self.export(contestant))

        def watch(fraction: float, last: dict[str, Any]) -> None:
            told = " ".join(f"{task} auc {last[task]['auc']:.4f}" for task in self.config.labels.tasks if task in last)
            progress(f"{contestant.name} seed {seed} {told}".rstrip(), done + share * fraction)

        def validated(step: int, steps: int, metrics: Metrics) -> None:
            self.tell(TrialValidated(contestant.name, seed, step, steps, metrics))

        started = time.perf_counter()
        with closing(ScalarWriter(self.scalars / quote(contestant.name, safe="@") / place.name)) as scalars:
            curves = scalars if self.config.tensorboard else None
            training = Training(model, self.config, contestant.export, seed, place, curves)
            found = training.run(train, valid, watch, validated)
        seconds = time.perf_counter() - started
        best = from_first(lambda: found.best)  # which says, too, that the first has written their weights
        logits: dict[str, Any] = self._predict(model, place, test, contestant.export, best)
        attention = mean_attention(model, test, contestant.export)
        if group.place() > 0:
            return
        np.savez(place / "test_logits.npz", **logits)
        result = {"parameters": model.budget(), "best": best, "steps": found.step, "seconds": seconds}
        if attention is not None:
            result["attention"] = attention
        write_json(place / DONE, {**result, "history": found.history})
        (place / STATE).unlink()
        self.tell(TrialEnded(contestant.name, seed, seconds, reused=False))

    def _predict(
        self, model: RankerModel, place: Path, test: Split, export: int, best: dict[str, tuple[int, float]]
    ) -> Logits:
        """Each task by the weights that were best at it on valid; tasks that were best at one step share them."""
        by_step: dict[int, Logits] = {}
        for task, (step, _) in best.items():
            if step not in by_step:
                load_(model, place / f"best_{task}.pt", group.device(self.config.device))
                by_step[step] = predict(model, test, export)
        return {task: by_step[step][task] for task, (step, _) in best.items()}

    def judge(self, contestants: Sequence[Contestant], progress: Progress) -> dict[str, Any]:
        """The tree of metrics: `arms` and `comparisons`."""
        truth = Truth.of(Split.of(self.prepared, "test", self.summary))
        judge = Judge(truth, list(self.config.segments), self.config.bootstrap)
        seeds = self.config.training.seeds
        arms: dict[str, dict[str, Any]] = {}
        for contestant in contestants:
            records = {
                seed: read_json(self.place(contestant, seed) / DONE, dict[str, Any], "a training") for seed in seeds
            }
            arms[contestant.name] = {
                "parameters": records[seeds[0]]["parameters"],
                "seconds": float(np.mean([record["seconds"] for record in records.values()])),
            }
            if attention := records[seeds[0]].get("attention"):  # trainings of earlier versions have none
                arms[contestant.name]["attention"] = attention
        comparisons = {}
        tasks = self.config.labels.tasks
        for at, task in enumerate(tasks):
            judged = {}
            for index, c in enumerate(contestants):
                done = (at * len(contestants) + index) / (len(tasks) * len(contestants))
                progress(f"intervals of {c.name} {task}", done)
                judged[c.name] = judge.task(task, {seed: self._logits(c, seed) for seed in seeds})
            comparisons[task] = compare(judged)
            for name, one in judged.items():
                arms[name][task] = one.tree
        return {"arms": arms, "comparisons": comparisons}

    def _logits(self, contestant: Contestant, seed: int) -> Logits:
        with np.load(self.place(contestant, seed) / "test_logits.npz") as file:
            return {task: file[task] for task in file.files}
