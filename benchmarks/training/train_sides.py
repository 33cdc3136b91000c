"""One side of bench_train in a process of its own: prints its rate as JSON.

    python -m benchmarks.training.train_sides ours|peer|limits GRAPH D WORKERS

bench_train runs them in turn, each under the environment of a level.
"""

import json
import logging
import re
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil
import torchbiggraph.train
from torchbiggraph.config import ConfigSchema, EntitySchema, RelationSchema

from artifacts.formats.graph import edge_path, load_graph
from benchmarks.training.train_limits import gather_rate, peak
from pbg_transra import ModelConfig, chosen_level, train

BATCH, NEGATIVES, EPOCHS = 1000, 50, 4


class Rate(NamedTuple):
    edges_per_second: float
    edges_per_cpu_second: float


@dataclass
class Epochs:
    """Edges/s of each epoch (the graph is one bucket), and edges per second of processor time of the workers.

    The second is what tells where other programs take the processors away.
    """

    rates: list[Rate] = field(default_factory=list)
    cpu_before: float = 0.0

    def add(self, edges: int, seconds: float) -> None:
        times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
        cpu = sum(time.user + time.system for time in times)
        self.rates.append(Rate(edges / seconds, edges / (cpu - self.cpu_before)))
        self.cpu_before = cpu

    def median(self) -> Rate:
        """Of all but the first, in which the workers start."""
        return Rate(*(statistics.median(values) for values in zip(*self.rates[1:], strict=True)))


def ours(graph: Path, model: Path, dimension: int, workers: int) -> Rate:
    """Two-sided, one projection for each of all relations."""
    epochs = Epochs()
    config = ModelConfig(
        operator="transr",
        dimension=dimension,
        similarity="dot",
        scale=1.0,
        loss="softmax",
        batch_size=BATCH,
        batch_negatives=NEGATIVES,
        uniform_negatives=NEGATIVES,
        pull=0,
        epochs=EPOCHS,
        workers=workers,
    )
    report = train(graph, model, config, lambda progress: None, lambda done: epochs.add(done.edges, done.seconds))
    assert report.level == chosen_level()
    return epochs.median()


class PbgLog(logging.Handler):
    """Reads edges/s out of the line that PBG logs after each bucket: from handing it out until the last is done."""

    LINE = re.compile(r"Processed (\d+) edges in ([\d.]+) s")

    def __init__(self, epochs: Epochs) -> None:
        super().__init__()
        self.epochs = epochs

    def emit(self, record: logging.LogRecord) -> None:
        if found := self.LINE.search(record.getMessage()):
            self.epochs.add(int(found[1]), float(found[2]))


def peer(graph: Path, model: Path, dimension: int, workers: int) -> Rate:
    """PBG as released, operator `linear` (right side only) on all relations."""
    epochs, world = Epochs(), load_graph(graph)
    logger = logging.getLogger("torchbiggraph")
    logger.setLevel(logging.INFO)
    logger.handlers, logger.propagate = [PbgLog(epochs)], False
    config = ConfigSchema(
        entities={t.name: EntitySchema(num_partitions=t.partitions) for t in world.entity_types},
        relations=[RelationSchema(name=r.name, lhs=r.lhs, rhs=r.rhs, operator="linear") for r in world.relations],
        entity_path=str(graph),
        edge_paths=[str(edge_path(graph, "train"))],
        checkpoint_path=str(model),
        dimension=dimension,
        comparator="dot",
        loss_fn="softmax",
        batch_size=BATCH,
        num_batch_negs=NEGATIVES,
        num_uniform_negs=NEGATIVES,
        num_epochs=EPOCHS,
        workers=workers,
        eval_fraction=0,
        hogwild_delay=0,
    )
    torchbiggraph.train.train(config)
    return epochs.median()


def main() -> None:
    side, graph, dimension, workers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if side == "limits":
        level = chosen_level()
        print(json.dumps({"multiply_adds": peak(level), "gather_bytes": gather_rate(level, dimension)}))
        return
    with tempfile.TemporaryDirectory(prefix="bench-train-") as model:
        rate = {"ours": ours, "peer": peer}[side](graph, Path(model), dimension, workers)
    print(json.dumps(rate._asdict()))


if __name__ == "__main__":
    main()
