"""The ablation: operators beside each other on one data set after the other, equally tuned, each cell with a budget.

    make experiments ARGS="--data demo --operators transra transe"

What is compared stands in configs/experiments/<data>.json. Each operator tries every setting of the grid with the first
seed; the best on valid is trained with every seed and read on test. If it is killed, repeat the command and it resumes:
benchmarks/out/experiments/<data>/<operator>/<seed>.json is a finished cell, made anew only if its config, its files or
the version of a stage change. All tables are in benchmarks/out/experiments.json.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from artifacts.errors import TransraError
from artifacts.files.publish import write_json
from benchmarks.environment import OUT, surroundings
from benchmarks.experiments.harness import Harness
from benchmarks.experiments.plan import ROOT, Plan, load_plan, require_known
from benchmarks.experiments.results import as_json, table
from benchmarks.retrieval.retrieval_pairs import write_pairs

CONFIGS = ROOT / "configs" / "experiments"
PAIRS = OUT / "retrieval" / "data"
PACKAGES = ("torch", "torchbiggraph", "numpy")
PROTOCOL = (
    "mrr, hits@10: filtered link prediction on test, both sides, among all entities of the type; <relation> recall@20, "
    "ndcg@20: per head, tails by the model's own similarity of exported vectors, nothing applied, known answers left "
    "out; other pairs: MRR of the same by edge, both sides, between types that no anchor of the config joins; "
    "ctr_auc <arm>: of the ranker on its test days. The setting is the best of the grid by MRR on valid with the first "
    "seed, the epoch that of the best validation; mean and standard deviation over seeds; seconds of training"
)


def main(words: Sequence[str] | None = None, configs: Path = CONFIGS, out: Path = OUT) -> int:
    """Returns the exit code of `transra` for what went wrong, 0 otherwise."""
    try:
        run(parser(configs).parse_args(words), configs, out)
    except TransraError as error:
        print(*(f"experiments: {line}" for line in error.lines), sep="\n", file=sys.stderr)
        return error.exit_code
    return 0


def parser(configs: Path) -> argparse.ArgumentParser:
    names = sorted(path.stem for path in configs.glob("*.json"))
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", nargs="+", choices=names, default=names, help="which tables (all)")
    arguments.add_argument("--operators", nargs="+", help="rows of the tables (all)")
    arguments.add_argument("--seeds", nargs="+", type=int, help="of those in the config (all)")
    arguments.add_argument("--rank", action="store_true", help="also the ranker's arms, where the config has some")
    return arguments


def run(options: argparse.Namespace, configs: Path, out: Path) -> None:
    """Raises ConfigError before anything is trained, and as the commands do."""
    plans = [load_plan(configs / f"{name}.json") for name in options.data]
    for plan in plans:
        require_known(options.operators or [], list(plan.experiment.operators), "--operators")
        require_known([*map(str, options.seeds or [])], [*map(str, plan.experiment.seeds)], "--seeds")
    for plan in plans:
        if plan.experiment.pairs:
            prepare_pairs(plan.experiment.pairs)
        harness = Harness(plan, out / "experiments")
        for operator in options.operators or plan.experiment.operators:
            harness.make(operator, options.seeds or plan.experiment.seeds, options.rank)
            keep(plan, harness, out / "experiments.json")
        print(table(plan.name, harness.rows()), flush=True)
    print(f"written to {out / 'experiments.json'}")


def keep(plan: Plan, harness: Harness, path: Path) -> None:
    """Puts the table, as far as it is made, beside those of other data sets."""
    earlier = json.loads(path.read_text()) if path.exists() else {}
    found = {row.operator: as_json(row) for row in harness.rows()}
    write_json(path, {**earlier, plan.name: found, "protocol": PROTOCOL, **surroundings(PACKAGES)})


def prepare_pairs(graph: str) -> None:
    if not (PAIRS / graph / "final" / "held_out.parquet").exists():
        write_pairs(graph, PAIRS / graph)


if __name__ == "__main__":
    sys.exit(main())
