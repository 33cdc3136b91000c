"""Random kills: what a run publishes after them must be what an uninterrupted run publishes, byte for byte.

    make bench-kill
    python -m benchmarks.bench_kill --kills 100

`transra run` (partition to export, one worker, a small demo world) is killed with SIGKILL at random moments: every
second time all of its processes at once, as when a machine goes down, otherwise one of them. The same command follows
until it comes through; then vectors, MRR and number of edges are compared with those of a run that nobody killed, and
the next run begins in an empty workspace. A difference, an answer that is not documented, or a published run that is
not whole ends the benchmark with exit code 1.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from artifacts.embeddings import Embeddings
from benchmarks.bench_import_scale import REPOSITORY
from benchmarks.environment import save, surroundings

USERS, IMPRESSIONS = 3_000, 100_000
SETTINGS = {"model.epochs": 30, "model.workers": 1, "model.checkpoint_seconds": 1, "evaluate.max_edges": 500}
LONGEST = 600  # seconds in which a run that lost a process must have answered
KILLED = -9
DIED = 70  # what the command answers when one of its workers is killed


def transra(*words: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", *words]


def run_command(directory: Path) -> list[str]:
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    place = ["--root", str(directory), "--workspace", str(directory / "runs"), "--quiet"]
    return transra("run", str(REPOSITORY / "configs" / "demo.json"), *place, *settings)


def published(directory: Path) -> dict[str, Any] | None:
    """The vectors of every type and the figures of the published run, without times; None where nothing is."""
    latest = directory / "runs" / "latest"
    if not latest.is_symlink():
        return None
    embeddings = Embeddings(latest / "export" / "embeddings.h5")
    metrics = json.loads((latest / "metrics.json").read_text())
    vectors = {name: embeddings.vectors(name).tobytes() for name in embeddings.types}
    return {"vectors": vectors, "mrr": metrics["evaluate"]["mrr"], "edges": metrics["partition"]["edges"]}


def attempt(command: list[str], after: float, everything: bool, rng: random.Random) -> tuple[int, str]:
    """Kills all processes of a command, or one, after so many seconds; returns its exit code and what was killed."""
    process = psutil.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return int(process.wait(after)), ""
    except psutil.TimeoutExpired:
        children = process.children(recursive=True)
    victims = [process, *children] if everything else [rng.choice([process, *children])]
    for victim in victims:
        with suppress(psutil.NoSuchProcess):  # some die with the first
            victim.kill()
    name = "all" if everything else "main" if victims == [process] else "a worker"
    return int(process.wait(LONGEST)), name


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    rng, answers, runs, kills = random.Random(options.seed), Counter[str](), 0, 0
    with tempfile.TemporaryDirectory(prefix="bench-kill-") as name:
        directory = Path(name)
        size = ["--users", str(USERS), "--impressions", str(IMPRESSIONS)]
        subprocess.run(transra("demo-data", str(directory / "data" / "demo"), *size, "--quiet"), check=True)
        began = time.perf_counter()
        subprocess.run(run_command(directory), cwd=REPOSITORY, check=True)
        whole, expected = time.perf_counter() - began, published(directory)
        shutil.rmtree(directory / "runs")
        while kills < options.kills:
            answer, killed = attempt(run_command(directory), rng.uniform(0, whole), kills % 2 == 0, rng)
            kills += bool(killed)
            answers[f"{killed or 'nothing'} killed: exit {answer}"] += 1
            print(answers, flush=True)
            found = published(directory)
            if answer not in (0, KILLED, DIED) or found not in (None, expected) or (answer == 0 and found is None):
                raise SystemExit(f"after {kills} kills a run answered {answer} and what is published is not whole")
            if found is not None:
                runs += 1
                shutil.rmtree(directory / "runs")
                print(f"{kills} kills, {runs} runs came through and are equal", flush=True)
    result = {
        "kills": kills,
        "runs": runs,
        "answers": dict(sorted(answers.items())),
        "seconds_uninterrupted": whole,
        "sizes": {"users": USERS, "impressions": IMPRESSIONS, **SETTINGS},
        "protocol": "SIGKILL at a random moment of an uninterrupted run's time, to all processes or to one, in turn",
        **surroundings(["torchbiggraph", "torch", "duckdb"]),
    }
    print(f"{result['machine']}: {kills} kills, {runs} runs, all equal to the one that nobody killed")
    save("kill", result)


if __name__ == "__main__":
    main()
