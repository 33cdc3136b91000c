"""After training: an intercept, so that the mean prediction is what the training rows hold.

Where few rows are positive, the last steps leave a model some percent off on average, on the rows that it was trained
on as on any other. The intercept is fitted as training goes, with hidden ids and dropout: without them a model knows
the ids of its own training rows by heart, and says of them what it would say of no others.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from ranker.data.records import READ_ROWS, Records, Split, judged, positive
from ranker.evaluation.predictions import of_round, round_size
from ranker.model.ranker_model import RankerModel
from ranker.processes import group

ROWS = 1 << 17  # training rows that are looked at: of rare positives all
STEPS, LARGEST_STEP, EXACT = 100, 1.0, 1e-9  # of Newton's method

Floats = NDArray[np.float64]


def calibrate_(model: RankerModel, train: Split, export: int, seed: int) -> None:
    """Sets the intercept of the task that is trained on all impressions, and leaves the model in evaluation.

    `seed` says which rows are looked at and what is dropped, so that a repeated call sets the same; all processes of a
    training call it together. No row of the validation days is looked at.
    """
    keep = kept_negatives(train)
    model.train()
    torch.manual_seed(seed + group.place())
    parts, rows = [], 0
    for records in train.shuffled(np.random.default_rng(seed), READ_ROWS, keep):
        size = round_size(model)
        rounds = (records[first : first + size] for first in range(0, len(records), size))
        parts += [_predicted(model, one, export, keep) for one in rounds]
        rows += len(records)
        if rows >= ROWS:
            break
    model.intercept.fill_(intercept(*(np.concatenate(column) for column in zip(*parts, strict=True))))
    model.eval()


def kept_negatives(train: Split) -> float:
    """The share of negatives that leaves about ROWS rows, or as many of them as there are positives."""
    negatives = len(train) - train.positives
    return min(max(ROWS - train.positives, train.positives) / max(negatives, 1), 1.0)


def _predicted(model: RankerModel, records: Records, export: int, keep: float) -> tuple[Floats, Floats, Floats]:
    """Logits, labels and weights (R,) of the rows that the task is trained on; a negative stands for those left out."""
    task = model.calibrated
    rows = judged(task, records["click"], records["conversion"])
    labels = (records["click"] if task == "ctr" else records["conversion"])[rows].astype(np.float64)
    logits = of_round(model, records, export)[task][rows].astype(np.float64)
    return logits, labels, np.where(positive(records[rows]), 1.0, 1 / keep)


def intercept(logits: Floats, labels: Floats, weights: Floats) -> float:
    """What has to be added to logits (N,) for their sigmoids to come to the labels (N,), 0 or 1, both weighted (N,).

    By Newton's method; 0 where all labels are alike, since no number does it then.
    """
    if len(np.unique(labels)) < 2:
        return 0.0
    positives, moved = float(weights @ labels), 0.0
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(logits + moved)))
        step = (positives - float(weights @ p)) / max(float(weights @ (p * (1 - p))), EXACT)
        moved += float(np.clip(step, -LARGEST_STEP, LARGEST_STEP))
        if abs(step) < EXACT:
            break
    return moved
