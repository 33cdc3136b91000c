"""Makes what is missing of a table: trials of the grid first, then the chosen setting with every seed.

<out>/<data>/<operator>/setting-<n>.json   a trial, judged on valid
<out>/<data>/<operator>/<seed>.json        a measured cell, <seed>-rank.json what the ranker made of it
<out>/<data>/<operator>/.benches/          workspaces of trainings, until the operator is done
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from pathlib import Path
from typing import Any

from benchmarks.experiments.cells import Bench, GivenUp, OverBudget
from benchmarks.experiments.plan import Plan, Training
from benchmarks.experiments.results import DIVERGED, DONE, OVER_BUDGET, Cell, Row, read_cell, write_cell


@dataclass(frozen=True)
class Job:
    """One cell to be made. `stage`: train (a trial, by valid), evaluate or rank."""

    operator: str
    setting: int
    seed: int
    stage: str

    @property
    def name(self) -> str:
        names = {"train": f"setting-{self.setting}", "evaluate": f"{self.seed}", "rank": f"{self.seed}-rank"}
        return names[self.stage]


@dataclass(frozen=True)
class Harness:
    """The cells of one plan below `out`."""

    plan: Plan
    out: Path

    def make(self, operator: str, seeds: Sequence[int], rank: bool) -> None:
        """Makes every missing cell of an operator. Raises as `Bench.make` does."""
        trials = [self._settled(job) for job in self._trials(operator)]
        setting = best(trials)
        stages = ["evaluate", *(["rank"] if rank and self.plan.experiment.arms else [])]
        for seed in seeds:
            if setting is None:  # every training of the grid diverged or went over its budget
                job = Job(operator, 0, seed, "evaluate")
                write_cell(self._path(job), replace(trials[0], fingerprint=self._fingerprint(job)))
                continue
            for stage in stages:
                self._settled(Job(operator, setting, seed, stage))
        shutil.rmtree(self._benches(operator), ignore_errors=True)

    def rows(self) -> list[Row]:
        """What is finished of every operator."""
        return [self._row(operator) for operator in self.plan.experiment.operators]

    def _trials(self, operator: str) -> list[Job]:
        """None for a single setting: there is nothing to choose."""
        grid, first = self.plan.experiment.grid, self.plan.experiment.seeds[0]
        return [Job(operator, setting, first, "train") for setting in range(len(grid)) if len(grid) > 1]

    def _settled(self, job: Job) -> Cell:
        """The finished cell, made if it is missing or was made from something else."""
        return self._finished(job) or self._made(job)

    def _made(self, job: Job) -> Cell:
        training, minutes = self._training(job), self.plan.experiment.minutes
        directory = self._benches(job.operator) / training.fingerprint("train")[:16]
        bench = Bench(directory, training, time.monotonic() + 60 * minutes)
        try:
            found: dict[str, Any] = {"outcome": DONE, **self._measured(job, bench)}
        except OverBudget:
            found = {"outcome": OVER_BUDGET}
        except GivenUp as error:
            found = {"outcome": DIVERGED, "said": str(error)}
        cell = Cell(self._fingerprint(job), minutes=minutes, setting=job.setting, **found)
        write_cell(self._path(job), cell)
        print(f"{self.plan.name}: {job.operator}, {job.name}: {cell.told()}", flush=True)
        return cell

    def _measured(self, job: Job, bench: Bench) -> dict[str, Any]:
        metrics = bench.make(["partition", "train"])
        seconds = metrics["seconds"]
        if job.stage == "train":
            scores = metrics["validation_mrr"] or metrics["validation_retrieval"]
            return {"score": max(score for _, score in scores), "seconds": seconds}
        if job.stage == "evaluate":
            return {"measures": measures(bench.make(["evaluate"]), self.plan), "seconds": seconds}
        arms = self.plan.experiment.arms
        ranked = bench.make(["export", "rank"], "--arms", ",".join(arms))["arms"]
        return {"measures": {f"ctr_auc {arm}": ranked[arm]["ctr"]["auc"] for arm in arms}, "seconds": seconds}

    def _finished(self, job: Job) -> Cell | None:
        cell = read_cell(self._path(job))
        return cell if cell and cell.settles(self._fingerprint(job), self.plan.experiment.minutes) else None

    def _row(self, operator: str) -> Row:
        experiment = self.plan.experiment
        trials = [self._finished(job) for job in self._trials(operator)]
        finished = [trial for trial in trials if trial]
        setting = best(finished) if len(finished) == len(trials) else None
        jobs = [Job(operator, setting or 0, seed, stage) for seed in experiment.seeds for stage in ("evaluate", "rank")]
        cells = {job.name: cell for job in jobs if self._wanted(job) and (cell := self._finished(job))}
        score = next((trial.score for trial in finished if trial.setting == setting), None)
        return Row(operator, {} if setting is None else experiment.grid[setting], score, cells)

    def _wanted(self, job: Job) -> bool:
        return job.stage != "rank" or bool(self.plan.experiment.arms)

    def _training(self, job: Job) -> Training:
        return self.plan.training(job.operator, job.setting, job.seed)

    def _fingerprint(self, job: Job) -> str:
        return self._training(job).fingerprint(job.stage, self.plan.experiment.arms if job.stage == "rank" else ())

    def _path(self, job: Job) -> Path:
        return self.out / self.plan.name / job.operator / f"{job.name}.json"

    def _benches(self, operator: str) -> Path:
        return self.out / self.plan.name / operator / ".benches"


def best(trials: list[Cell]) -> int | None:
    """The setting with the best score on valid, the only one where there are no trials; None if none has a score."""
    scores = {trial.setting: trial.score for trial in trials if trial.score is not None}
    if not trials:
        return 0
    return max(scores, key=lambda setting: scores[setting]) if scores else None


def measures(metrics: dict[str, Any], plan: Plan) -> dict[str, float | None]:
    """What a cell reports of `transra evaluate`; see PROTOCOL in experiments.py."""
    plain, joined = metrics["anchor_retrieval"], plan.anchored_types()
    others = [pair for name, pair in plain["pairs"].items() if name not in joined]
    queries = sum(pair["queries"] for pair in others)
    found: dict[str, float | None] = {"mrr": metrics["mrr"], "hits@10": metrics["hits@10"]}
    for name in plan.experiment.asked:
        lists = plain["per_query"]["relations"].get(name, {"rhs": {}})["rhs"]
        found |= {f"{name} {metric}": lists.get(metric) for metric in ("recall@20", "ndcg@20")}
    found["other pairs"] = fsum(pair["mrr"] * pair["queries"] for pair in others) / queries if queries else None
    return found
