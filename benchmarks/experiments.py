"""The ablation: operators beside each other on one data set after the other, equally tuned, each cell with a budget.

    make experiments ARGS="--data demo --operators transra transe"

What is compared stands in configs/experiments/<data>.json. Each operator tries every setting of the grid with the first
seed; the best on valid is trained with every seed and read on test. If it is killed, repeat the command and it resumes:
benchmarks/out/experiments/<data>/<operator>/<seed>.json is a finished cell, made anew only if its config, its files or a
stage of ours change. All tables are in benchmarks/out/experiments.json.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from artifacts.errors import TransraError
from benchmarks.environment import OUT, save, surroundings
from benchmarks.experiment_cells import Bench, GivenUp, OverBudget
from benchmarks.experiment_plan import ROOT, Plan, Training, load_plan, require_known
from benchmarks.experiment_results import DIVERGED, DONE, OVER_BUDGET, Cell, Row, read_cell, table, told, write_cell
from benchmarks.retrieval_pairs import write_pairs

CONFIGS = ROOT / "configs" / "experiments"
PAIRS = OUT / "retrieval" / "data"
PROTOCOL = (
    "mrr, hits@10: filtered link prediction on test, both sides, among all entities of the type; <relation> recall@20, "
    "ndcg@20: per head, tails by plain similarity of the exported vectors (the model's own), answers of other splits left "
    "out; other pairs: MRR of plain similarity between types that no anchor of the config joins, test edges of both "
    "sides; ctr_auc <arm>: of the ranker on its test days. The setting is the best of the grid on valid with the first "
    "seed, the epoch that of the best validation; test is read once per seed"
)


@dataclass(frozen=True)
class Harness:
    """Makes the cells of one plan below `out`."""

    plan: Plan
    out: Path

    def row(self, operator: str, seeds: Sequence[int], rank: bool) -> None:
        """Makes every missing cell of an operator."""
        setting = self.chosen(operator, make=True)
        for seed in seeds:
            if setting is None:
                self.unmeasured(operator, seed)
                continue
            self.settled(operator, f"{seed}", setting, seed, "evaluate", self.measured)
            if rank and self.plan.experiment.arms:
                self.settled(operator, f"{seed}-rank", setting, seed, "rank", self.ranked)
        shutil.rmtree(self.benches(operator), ignore_errors=True)

    def chosen(self, operator: str, make: bool) -> int | None:
        """The setting with the best score on valid; None where no training of the grid came to its end.

        Trains what is missing if `make`; otherwise None, too, unless all are there.
        """
        grid, first = self.plan.experiment.grid, self.plan.experiment.seeds[0]
        if len(grid) == 1:
            return 0
        if make:
            trials = [self.settled(operator, f"setting-{one}", one, first, "train", self.trial) for one in range(len(grid))]
        else:
            found = [self.finished(operator, f"setting-{one}", one, first, "train") for one in range(len(grid))]
            trials = [cell for cell in found if cell is not None]
        scores = {cell.setting: cell.score for cell in trials if cell.score is not None}
        return max(scores, key=lambda one: scores[one]) if scores and len(trials) == len(grid) else None

    def settled(
        self, operator: str, name: str, setting: int, seed: int, stage: str, make: Callable[[Bench], dict[str, Any]]
    ) -> Cell:
        """The finished cell, made if it is missing or was made from something else."""
        if cell := self.finished(operator, name, setting, seed, stage):
            return cell
        training, minutes = self.plan.training(operator, setting, seed), self.plan.experiment.minutes
        directory = self.benches(operator) / training.fingerprint("train")[:16]
        bench = Bench(directory, training, time.monotonic() + 60 * minutes)
        try:
            found: dict[str, Any] = {"outcome": DONE, **make(bench)}
        except OverBudget:
            found = {"outcome": OVER_BUDGET}
        except GivenUp as error:
            found = {"outcome": DIVERGED, "said": str(error)}
        cell = Cell(self.fingerprint(training, stage), minutes=minutes, setting=setting, **found)
        write_cell(self.path(operator, name), cell)
        print(f"{self.plan.name}: {operator}, {name}: {cell.outcome} {cell.score or ''} {cell.measures or ''}", flush=True)
        return cell

    def finished(self, operator: str, name: str, setting: int, seed: int, stage: str) -> Cell | None:
        cell = read_cell(self.path(operator, name))
        fingerprint = self.fingerprint(self.plan.training(operator, setting, seed), stage)
        return cell if cell and cell.settles(fingerprint, self.plan.experiment.minutes) else None

    def fingerprint(self, training: Training, stage: str) -> str:
        return training.fingerprint(stage, self.plan.experiment.arms if stage == "rank" else ())

    def unmeasured(self, operator: str, seed: int) -> None:
        """A cell without a setting: all trainings of the grid went over their budget or diverged."""
        first = self.plan.experiment.seeds[0]
        trial = self.finished(operator, "setting-0", 0, first, "train")
        assert trial is not None
        fingerprint = self.fingerprint(self.plan.training(operator, 0, seed), "evaluate")
        write_cell(self.path(operator, f"{seed}"), Cell(fingerprint, trial.outcome, trial.minutes, 0, said=trial.said))

    def trial(self, bench: Bench) -> dict[str, Any]:
        metrics = bench.make(["partition", "train"])
        scores = metrics["validation_mrr"] or metrics["validation_retrieval"]
        return {"score": max(score for _, score in scores), "seconds": metrics["seconds"]}

    def measured(self, bench: Bench) -> dict[str, Any]:
        seconds = bench.make(["partition", "train"])["seconds"]
        metrics = bench.make(["evaluate"])
        return {"measures": measures(metrics, self.plan), "seconds": seconds}

    def ranked(self, bench: Bench) -> dict[str, Any]:
        arms = self.plan.experiment.arms
        metrics = bench.make(["partition", "train", "export", "rank"], "--arms", ",".join(arms))
        return {"measures": {f"ctr_auc {arm}": metrics["arms"][arm]["ctr"]["auc"] for arm in arms}}

    def rows(self) -> list[Row]:
        """What is finished of every operator."""
        return [self.finished_row(operator) for operator in self.plan.experiment.operators]

    def finished_row(self, operator: str) -> Row:
        experiment = self.plan.experiment
        setting = self.chosen(operator, make=False)
        trial = read_cell(self.path(operator, f"setting-{setting}")) if len(experiment.grid) > 1 else None
        cells = {seed: cell for seed in experiment.seeds if (cell := self.finished_cell(operator, setting or 0, seed))}
        chosen = experiment.grid[setting] if setting is not None else {}
        return Row(operator, chosen, trial.score if trial else None, cells, experiment.minutes)

    def finished_cell(self, operator: str, setting: int, seed: int) -> Cell | None:
        """With what the ranker made of it, where it was asked."""
        cell = self.finished(operator, f"{seed}", setting, seed, "evaluate")
        if cell is None or not self.plan.experiment.arms:
            return cell
        ranked = self.finished(operator, f"{seed}-rank", setting, seed, "rank")
        return Cell(**{**vars(cell), "measures": {**cell.measures, **(ranked.measures if ranked else {})}})

    def path(self, operator: str, name: str) -> Path:
        return self.out / self.plan.name / operator / f"{name}.json"

    def benches(self, operator: str) -> Path:
        return self.out / self.plan.name / operator / ".benches"


def measures(metrics: dict[str, Any], plan: Plan) -> dict[str, float | None]:
    """What a cell reports of `transra evaluate`; see PROTOCOL."""
    plain, joined = metrics["anchor_retrieval"], plan.anchored_types()
    others = [pair for name, pair in plain["pairs"].items() if name not in joined]
    queries = sum(pair["queries"] for pair in others)
    found: dict[str, float | None] = {"mrr": metrics["mrr"], "hits@10": metrics["hits@10"]}
    for name in plan.experiment.asked:
        lists = plain["per_query"]["relations"][name]["rhs"]
        found |= {f"{name} {metric}": lists[metric] for metric in ("recall@20", "ndcg@20")}
    found["other pairs"] = fsum(pair["mrr"] * pair["queries"] for pair in others) / queries if queries else None
    return found


def main(words: Sequence[str] | None = None, configs: Path = CONFIGS, out: Path = OUT) -> int:
    names = sorted(path.stem for path in configs.glob("*.json"))
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", nargs="+", choices=names, default=names)
    arguments.add_argument("--operators", nargs="+", help="rows of the table (all)")
    arguments.add_argument("--seeds", nargs="+", type=int, help="of those in the config (all)")
    arguments.add_argument("--rank", action="store_true", help="also the ranker's arms, where the config has some: dear")
    options = arguments.parse_args(words)
    try:
        run(options, configs, out)
    except TransraError as error:
        print(*(f"experiments: {line}" for line in error.lines), sep="\n", file=sys.stderr)
        return error.exit_code
    return 0


def run(options: argparse.Namespace, configs: Path, out: Path) -> None:
    """Raises ConfigError before anything is trained, and as the commands do."""
    plans = [load_plan(configs / f"{name}.json") for name in options.data]
    for plan in plans:
        known = list(plan.experiment.operators)
        require_known(options.operators or [], known, "--operators")
    earlier = json.loads((out / "experiments.json").read_text()) if (out / "experiments.json").exists() else {}
    for plan in plans:
        harness = Harness(plan, out / "experiments")
        if plan.experiment.pairs:
            prepare_pairs(plan.experiment.pairs)
        for operator in options.operators or plan.experiment.operators:
            harness.row(operator, options.seeds or plan.experiment.seeds, options.rank)
        rows = harness.rows()
        print(table(plan.name, rows), flush=True)
        earlier[plan.name] = {row.operator: told(row) for row in rows}
        save("experiments", {**earlier, "protocol": PROTOCOL, **surroundings(["torch", "torchbiggraph", "numpy"])})


def prepare_pairs(graph: str) -> None:
    if not (PAIRS / graph / "final" / "held_out.parquet").exists():
        write_pairs(graph, PAIRS / graph)


if __name__ == "__main__":
    sys.exit(main())
