"""Retrieval of items for users by exported vectors and inner product, beside what a user would pick instead.

    make bench-retrieval

For each graph settings are chosen on validation, ours by real `transra` runs, the peers' in an environment of their
own; then each method is trained once more with validation among its training pairs, and its lists are compared with
the test pairs. All items are candidates, pairs seen in training are left out of the lists.
"""

import argparse
import json
import shutil
import subprocess
import sys
from typing import Any

from benchmarks.environment import OUT, REPOSITORY, save, surroundings
from benchmarks.retrieval.retrieval_pairs import GRAPHS, GROCERY_FINAL, write_pairs

PEERS = OUT / "retrieval_peers" / "bin" / "python"
DATA = OUT / "retrieval" / "data"
WORKSPACES = OUT / "retrieval" / "runs"
RESULT = OUT / "retrieval.json"
DIMENSION = 64
RELATION = "buy"  # in every config: the one that is asked for
COLUMNS = ("recall@20", "ndcg@20", "mrr", "seconds")
REGULARIZATIONS = (0.05, 0.1, 0.15, 0.25)
EPOCHS = {"amazon_grocery": 20, "multibehavior_tmall": 30, "complete_journey": 20, "globo": 15}
VALIDATION = {
    "model.validate_every": 5,
    "model.validate_by": "retrieval",
    "model.validation_edges": 10**6,  # all of them
}
PROTOCOL = (
    "recall@20, NDCG@20 and MRR (of the first item found in the whole list): means over all users with test pairs, "
    "cold ones too; candidates: all items that the method knows, pairs of the training part left out; dimension 64; "
    "settings by recall@20 on validation pairs, then trained once more with those among the training pairs, test "
    "read once; seconds: of that last training, ours in one process and with all its files, the peers in memory "
    "and one thread"
)


def phase_settings(graph: str, phase: str) -> list[str]:
    """What makes the graph of a phase out of the config."""
    if graph == "amazon_grocery":  # an instant in which nothing was bought stands for the split that a phase lacks
        instant = f"{GROCERY_FINAL - 1}"
        until = [f"graph.split.time.test_from={instant}", f"graph.split.time.until={GROCERY_FINAL}"]
        return until if phase == "choose" else [f"graph.split.time.valid_from={instant}"]
    directory = DATA / graph / phase
    return [
        f'graph.sources.train.path="{directory / "train.parquet"}"',
        f'graph.sources.held_out.path="{directory / "held_out.parquet"}"',
        f'graph.sources.held_out.split="{"valid" if phase == "choose" else "test"}"',
    ]


def transra(graph: str, phase: str, stages: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Runs stages in a workspace of the phase; returns the metrics of the last one."""
    values = [*phase_settings(graph, phase), *(f"{key}={json.dumps(value)}" for key, value in settings.items())]
    workspace = WORKSPACES / f"{graph}-{phase}"
    words = [f"benchmarks/retrieval/{graph}.json", "--workspace", str(workspace), "--json", "--quiet"]
    words += [word for value in values for word in ("--set", value)]
    for stage in stages:
        command = [sys.executable, "-m", "pipeline.cli", stage, *words]
        run = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
        found: dict[str, Any] = json.loads(run.stdout)["stages"][stage]["metrics"]
    return found


def ours(graph: str) -> dict[str, Any]:
    tried = []
    for regularization in REGULARIZATIONS:
        settings = {"model.regularization": regularization}
        training = {**settings, **VALIDATION, "model.epochs": EPOCHS[graph]}
        found = transra(graph, "choose", ["partition", "train"], training)
        tried += [(recall, {**settings, "model.epochs": epoch}) for epoch, recall in found["validation_retrieval"]]
        print(graph, settings, found["validation_retrieval"], flush=True)
    settings = max(tried, key=lambda each: each[0])[1]
    seconds = transra(graph, "final", ["partition", "train"], settings)["seconds"]
    lists = transra(graph, "final", ["evaluate"], settings)["anchor_retrieval"]["per_query"]["relations"]
    return {**lists[RELATION]["rhs"], "seconds": seconds, "settings": settings, "tried": tried}


def peers(graph: str) -> dict[str, dict[str, Any]]:
    command = [str(PEERS), "benchmarks/retrieval/retrieval_peers.py", str(DATA / graph), str(DIMENSION)]
    run = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, dict[str, Any]] = json.loads(run.stdout)
    return found


def table(graph: str, found: dict[str, dict[str, Any]]) -> str:
    lines = [f"| {graph} | recall@20 | NDCG@20 | MRR | seconds |", "|---|---|---|---|---|"]
    for method, numbers in found.items():
        cells = [f"{numbers[column]:.{1 if column == 'seconds' else 4}f}" for column in COLUMNS]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--graphs", nargs="+", choices=GRAPHS, default=list(GRAPHS))
    options = arguments.parse_args()
    result = {}
    for graph in options.graphs:
        for phase in ("choose", "final"):  # a run that is there already would tell no seconds of its own
            shutil.rmtree(WORKSPACES / f"{graph}-{phase}", ignore_errors=True)
        write_pairs(graph, DATA / graph)
        result[graph] = {**peers(graph), "transra": ours(graph)}
        print(table(graph, result[graph]), flush=True)
    earlier = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    save("retrieval", {**earlier, **result, "protocol": PROTOCOL, **surroundings(["torch", "numpy"])})


if __name__ == "__main__":
    main()
