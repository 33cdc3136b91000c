"""Scoring 100 candidates for one user by a published model whose graph has 10 M ids, and how long it takes to open.

    make bench-score
    python -m benchmarks.ranking.bench_score --millions 1 --arm frozen_concat

The log and the vectors are drawn at random: what is measured is time, in a process of its own that opens the model and
scores requests one after the other on one thread. Ids are drawn from all of the graph, so most pages of a request's
vectors are touched for the first time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import ranker
from artifacts.files.json_file import read_json
from artifacts.formats.run import EMBEDDINGS, EXPORT
from benchmarks.environment import REPOSITORY, save, surroundings
from benchmarks.ranking.bench_rank_memory import START, config, write_log, write_run
from ranker.config.arms import ARMS
from ranker.data.ids.exports import Export

CANDIDATES, RECENT = 100, 10
WARM = 20  # requests before the clock starts
LOG_ROWS = 50_000


def publish(root: Path, entities: int, arm: str) -> Path:
    """A model trained on a short log; users and pins are `entities` each."""
    write_log(root / "log.parquet", LOG_ROWS, entities)
    write_run(root / "run", entities)
    settings = ranker.RankerConfig(**config(arm), fit={"arm": arm})
    ranker.fit(settings, root, Export(root / "run" / EXPORT / EMBEDDINGS, START - 1), root / "model")
    return root / "model"


def request(generator: np.random.Generator, entities: int) -> dict[str, Any]:
    """One user with a list of recent pins, and candidates."""
    recent = generator.integers(0, entities, RECENT).tolist()
    return {
        "user_id": np.full(CANDIDATES, generator.integers(0, entities)),
        "recent": [recent] * CANDIDATES,
        "pin_id": generator.integers(0, entities, CANDIDATES),
        "hour": np.full(CANDIDATES, 12),
        "age": np.full(CANDIDATES, 40.0),
    }


def measure(model: Path, entities: int, requests: int) -> dict[str, Any]:
    """Seconds: to import, to open, and of requests."""
    import torch

    torch.set_num_threads(1)
    started = time.perf_counter()
    from ranker.scoring.scorer import Scorer

    imported = time.perf_counter()
    before = time.process_time()
    scorer = Scorer(model)
    opened, spent = time.perf_counter(), time.process_time()
    generator, seconds, cpu = np.random.default_rng(2), [], []
    for index in range(WARM + requests):
        columns = request(generator, entities)
        begun, begun_cpu = time.perf_counter(), time.process_time()
        scorer.score(columns)
        if index >= WARM:
            seconds.append(time.perf_counter() - begun)
            cpu.append(time.process_time() - begun_cpu)
    return {
        "import_seconds": imported - started,
        "open_seconds": opened - imported,
        "open_cpu_seconds": spent - before,
        "p50_ms": float(np.percentile(seconds, 50) * 1000),
        "p99_ms": float(np.percentile(seconds, 99) * 1000),
        "p50_cpu_ms": float(np.percentile(cpu, 50) * 1000),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--millions", type=float, default=10, help="ids of the graph, half of them users")
    arguments.add_argument("--arm", default="attention", choices=list(ARMS))
    arguments.add_argument("--requests", type=int, default=1000)
    arguments.add_argument("--scratch", type=Path, help="where log, vectors and model are written and removed")
    arguments.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    entities = int(options.millions * 500_000)
    if options.measure:
        print(json.dumps(measure(options.measure, entities, options.requests)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-score-", dir=options.scratch) as name:
        model = publish(Path(name), entities, options.arm)
        command = [sys.executable, "-m", "benchmarks.ranking.bench_score", *sys.argv[1:], "--measure", str(model)]
        said = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
        (Path(name) / "found.json").write_text(said)
        found = read_json(Path(name) / "found.json", dict[str, float], "what was measured")
    print(
        f"{2 * entities:,} ids, arm {options.arm}: opens in {found['open_seconds']:.2f} s, {CANDIDATES} candidates in "
        f"{found['p50_ms']:.1f} ms (p50), {found['p99_ms']:.1f} ms (p99); processor time "
        f"{found['open_cpu_seconds']:.2f} s and {found['p50_cpu_ms']:.1f} ms"
    )
    shape = {"ids": 2 * entities, "arm": options.arm, "candidates": CANDIDATES, "requests": options.requests}
    save("score", {**shape, **found, **surroundings(["torch", "pyarrow", "numpy"])})


if __name__ == "__main__":
    main()
