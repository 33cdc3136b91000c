"""What arms are worth where vectors are not what they were: rotated, rescaled, shifted, noised, missing, or old.

    make bench-gap
    python -m benchmarks.ranking.gap --impressions 500000 --seeds 0 1

Every gap is there in training as in the test: it is what an arm makes of vectors that are worse, not of a surprise.
The demo world's graph is made three times, of windows that end 0, 7 and 14 days before the ranker's. A table and a plot
for each task, and how far graph vectors lie from the ranker's ID table. Cells are kept below benchmarks/out/gap; if the
command is killed, repeat it and it resumes.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import OUT, REPOSITORY, machine, save, surroundings
from benchmarks.ranking.comparison.data import DATA_SETS, ranker_config, write_config
from benchmarks.ranking.gap.cells import NO_GAP, Cell, Experiment, Graphs, cells
from benchmarks.ranking.gap.distances import distances
from benchmarks.ranking.gap.distances import table as distance_table
from benchmarks.ranking.gap.draws import KINDS
from benchmarks.ranking.gap.plot import plot
from benchmarks.ranking.gap.tables import Judge, table
from ranker.experiment.reuse import digest

DIRECTORY = OUT / "gap"
IMPRESSIONS = 500_000


def experiment(options: argparse.Namespace) -> Experiment:
    data = DATA_SETS["demo"]
    directory = DIRECTORY / str(options.impressions)
    directory.mkdir(parents=True, exist_ok=True)
    path = write_config(data, options.root, options.impressions, 0, directory)
    graphs = Graphs(data.path, options.root, DIRECTORY / "graphs")
    runs = {days: graphs.run(days) for days in (0, *map(int, KINDS["old"].sizes))}
    key = digest([json.loads(path.read_text()), {str(days): run.name for days, run in runs.items()}])
    return Experiment(ranker_config(path), options.root, runs, directory, key)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--impressions", type=int, default=IMPRESSIONS, help="about so many of the log")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of trainings and of draws")
    arguments.add_argument("--root", type=Path, default=REPOSITORY, help="where relative paths of configs start")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    made = experiment(options)
    spent = sum(made.made(cell)["processor_seconds"] for cell in cells(options.seeds))
    whole = made.trained(Cell("attention", NO_GAP, options.seeds[0]))
    result: dict[str, Any] = {"distances": list(distances(whole, made.splits["train"], 0))}
    print(f"{machine()}\n\n{distance_table(result['distances'])}")
    for task in made.config.labels.tasks:
        judge = Judge(made, task, options.seeds)
        lines = judge.lines()
        result[task] = {"base": judge.base, "gaps": lines}
        print(f"\n{table(task, judge.base, lines)}")
        title = f"Test AUC ({task.upper()}) under gaps of growing size, demo world"
        (DIRECTORY / f"gap_{task}.svg").write_text(plot(title, judge.base, lines))
    about = {"impressions": options.impressions, "seeds": options.seeds, "rows": made.summary.counts}
    save("gap", {**result, **about, "processor_seconds": spent, **surroundings(["torch"])})


if __name__ == "__main__":
    main()
