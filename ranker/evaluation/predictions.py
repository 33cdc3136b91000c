"""What a model says of a split, and the rows of it that each task is judged on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ranker.data.batch import Batch
from ranker.data.records import Records, Split, judged
from ranker.evaluation.streaming_metrics import StreamingMetrics
from ranker.model.ranker_model import RankerModel
from ranker.processes import group
from ranker.processes.messages import from_first, gathered

READ = 1 << 16  # rows of which only labels are kept

Logits = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Truth:
    """Labels and groups of a split, (N,) each; segments (N, G)."""

    click: NDArray[np.int8]
    conversion: NDArray[np.int8]
    users: NDArray[np.uint32]
    segments: NDArray[np.bool_]

    @classmethod
    def of(cls, split: Split) -> "Truth":
        fields = ("click", "conversion", "user", "segments")
        parts = [[records[field].copy() for field in fields] for records in split.batches(READ)]
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def rows(self, task: str) -> NDArray[Any]:
        """The numbers of the rows that a task is judged on."""
        return np.flatnonzero(judged(task, self.click, self.conversion))

    def labels(self, task: str) -> NDArray[np.int8]:
        return self.click if task == "ctr" else self.conversion


@torch.no_grad()
def logits_of(model: RankerModel, records: Records, export: int) -> Logits:
    """Logits (N,) by task."""
    batch = Batch.of(records, export).to(next(model.parameters()).device)
    return {task: values.cpu().numpy() for task, values in model(batch).items()}


def _scored(model: RankerModel, split: Split, export: int) -> Iterator[tuple[Records, Logits]]:
    """A split in rounds of a batch for each process: the round's records, and everyone's logits of them."""
    for records in split.batches(round_size(model)):
        yield records, of_round(model, records, export)


def round_size(model: RankerModel) -> int:
    """Rows of a round: a batch for each process."""
    return model.predicted_rows * group.count()


def of_round(model: RankerModel, records: Records, export: int) -> Logits:
    """Everyone's logits (R,) of the R records of a round, which all processes are given."""
    size = model.predicted_rows
    own = records[group.place() * size :][:size]
    logits = logits_of(model, own if len(own) else records[:1], export)  # all look up together
    columns = np.stack([values[: len(own)] for values in logits.values()], axis=1)
    found = gathered(torch.from_numpy(columns)).numpy()
    return dict(zip(logits, found.T, strict=True))


def predict(model: RankerModel, split: Split, export: int) -> Logits:
    """Logits (N,) by task, in the split's order."""
    model.eval()
    parts = [logits for _, logits in _scored(model, split, export)]
    return {task: np.concatenate([part[task] for part in parts]) for task in parts[0]}


def evaluate(model: RankerModel, split: Split, export: int) -> dict[str, dict[str, float | None]]:
    """Metrics by task, in constant memory: the first process's, in all of them."""
    model.eval()
    found: dict[str, StreamingMetrics] = {}
    for records, scored in _scored(model, split, export):
        for task, logits in scored.items() if group.place() == 0 else ():
            rows = judged(task, records["click"], records["conversion"])
            labels = records["click"] if task == "ctr" else records["conversion"]
            found.setdefault(task, StreamingMetrics()).add(labels[rows], logits[rows])
    metrics: dict[str, dict[str, float | None]] = from_first(
        lambda: {task: metrics.report() for task, metrics in found.items()}
    )
    return metrics
