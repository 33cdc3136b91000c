"""What a model says of a split, and the rows of it that each task is judged on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ranker.data.batch import Batch
from ranker.data.records import Records, Split, judged
from ranker.evaluation.streaming_metrics import StreamingMetrics
from ranker.model.ranker_model import RankerModel

BATCH = 1024  # what stays in the cache: larger batches took twice as long a row
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


def predict(model: RankerModel, split: Split, export: int) -> Logits:
    """Logits (N,) by task, in the split's order."""
    model.eval()
    parts = [logits_of(model, records, export) for records in split.batches(BATCH)]
    return {task: np.concatenate([part[task] for part in parts]) for task in parts[0]}


def evaluate(model: RankerModel, split: Split, export: int) -> dict[str, dict[str, float | None]]:
    """Metrics by task, in constant memory."""
    model.eval()
    found: dict[str, StreamingMetrics] = {}
    for records in split.batches(BATCH):
        for task, logits in logits_of(model, records, export).items():
            rows = judged(task, records["click"], records["conversion"])
            labels = records["click"] if task == "ctr" else records["conversion"]
            found.setdefault(task, StreamingMetrics()).add(labels[rows], logits[rows])
    return {task: metrics.report() for task, metrics in found.items()}
