"""Training speed of the ranker's arms: examples a second of processor time, in one thread.

    make bench-rank-speed                  # of configs/demo_rank.json, whose graph is made first
    python -m benchmarks.ranking.bench_rank_speed --config C.json --run RUN --arms none attention

What is timed is the step of training (a batch made of records, forward, backward, optimisers) on real records and an
exported graph. Arms take turns, so that what else runs on the machine falls on all of them; a rate is the median of the
rounds. `shares` are parts of an arm's step by kind of operator, as torch's profiler sees them.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from artifacts.embeddings import Embeddings
from benchmarks.environment import save, surroundings
from pipeline.config.loading import load_config
from ranker.config.sections import RankerConfig
from ranker.data.ids.attributes import Attributes
from ranker.data.ids.exports import Export, open_exports
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import Records, Split, Summary
from ranker.model.ranker_model import RankerModel
from ranker.training.trainer import Training

WARM_UP, PROFILED = 2, 4  # steps
SECONDS = 1.0  # of an arm in a round, about
KINDS = {
    "products": ("mm", "bmm", "addmm", "addmv", "mv", "baddbmm"),
    "gathers": ("index_select", "index", "index_add_", "_index_put_impl_", "gather", "scatter_add_", "embedding_bag"),
    "sorts": ("sort", "_unique2", "_coalesce", "argsort"),
    "element-wise": (
        "mul",
        "mul_",
        "add",
        "add_",
        "sub",
        "div",
        "div_",
        "sigmoid",
        "relu",
        "where",
        "threshold_backward",
    ),
    "sums": ("sum", "mean", "amax", "amin", "_softmax", "_softmax_backward_data", "linalg_vector_norm"),
    "copies": ("copy_", "cat", "stack", "fill_", "zero_"),
    "dropout": ("random_", "bernoulli_", "native_dropout"),
    "layer norm": ("native_layer_norm", "native_layer_norm_backward"),
}


def prepared(config: RankerConfig, root: Path, run: Path, directory: Path) -> tuple[Summary, Embeddings, Records]:
    """What an arm is made from, and as many training records as are shuffled at a time."""
    exports = {"run": Export.of_run(run)}
    log = ImpressionLog(config, root, attributes=Attributes.of(config, exports, Forgotten()))
    opened = open_exports(exports, config)
    summary = prepare(log, Windows.of(log), opened, "bench", directory, lambda step, fraction: None)
    training, rng = config.training, np.random.default_rng(0)
    records = next(Split.of(directory, "train", summary).shuffled(rng, training.buffer_rows, training.keep_negatives))
    return summary, opened["run"], records


class Arm:
    """Takes steps of training on the same records, again and again."""

    def __init__(self, training: Training, records: Records, batch: int) -> None:
        self.training, self.batch, self.rates = training, batch, list[float]()
        self.batches = [records[first : first + batch] for first in range(0, len(records) - batch + 1, batch)]
        self.steps(WARM_UP)
        self.round_steps = max(int(SECONDS / self.steps(WARM_UP)), 1)

    def steps(self, count: int) -> float:
        """Seconds of processor time of one."""
        start = time.process_time()
        for _ in range(count):
            step = self.training.progress.step
            self.training._step(self.batches[step % len(self.batches)], 1.0, new=True)
        return (time.process_time() - start) / count

    def round(self) -> None:
        self.rates.append(self.batch / self.steps(self.round_steps))

    def shares(self) -> dict[str, float]:
        with profile(activities=[ProfilerActivity.CPU]) as found:
            self.steps(PROFILED)
        times = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in found.key_averages()}
        total = sum(times.values())
        shares = {kind: sum(times.get(name, 0) for name in names) / total for kind, names in KINDS.items()}
        return shares | {"other": 1 - sum(shares.values())}


def measured(options: argparse.Namespace, config: RankerConfig, scratch: Path) -> dict[str, Any]:
    summary, export, records = prepared(config, options.root, options.run, scratch / "prepared")
    arms = {}
    for name in options.arms:
        (directory := scratch / name).mkdir()
        torch.manual_seed(0)
        model = RankerModel(config, config.arms[name], summary, export)
        arms[name] = Arm(Training(model, config, 0, 0, directory), records, options.batch)
    for _ in range(options.rounds):
        for arm in arms.values():
            arm.round()
    rates = {name: statistics.median(arm.rates) for name, arm in arms.items()}
    fastest = rates[options.arms[0]]
    return {
        name: {"examples_per_second": rate, "share": rate / fastest, "shares": arms[name].shares()}
        for name, rate in rates.items()
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--config", type=Path, default=Path("configs/demo_rank.json"))
    arguments.add_argument("--run", type=Path, default=Path("runs/demo_rank/latest"), help="a run with an export")
    arguments.add_argument("--root", type=Path, default=Path(), help="where relative paths start (here)")
    arguments.add_argument(
        "--arms",
        nargs="+",
        default=["none", "frozen_concat", "attention_no_id", "attention"],
        help="the first one is what the others are shares of",
    )
    arguments.add_argument("--batch", type=int, default=2048)
    arguments.add_argument("--rounds", type=int, default=7)
    options = arguments.parse_args()
    config = load_config(options.config).ranker
    if config is None or not set(options.arms) <= set(config.arms):
        arguments.error("expected a config with `ranker`, and arms among its own")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="bench-rank-speed-") as name:
        found = measured(options, config, Path(name))
    for arm, result in found.items():
        kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in result["shares"].items())
        print(f"{arm:16} {result['examples_per_second']:9,.0f} examples/s  {result['share']:6.1%}  ({kinds})")
    save("rank_speed", surroundings(["torch", "numpy"]) | {"batch": options.batch, "threads": 1, "arms": found})


if __name__ == "__main__":
    main()
