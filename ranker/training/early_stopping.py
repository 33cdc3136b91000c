"""Where a training stands, and which weights each task keeps."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

TOLERANCE = 0.1  # standard errors of a validation loss; two steps of one training differ by about so much by chance


@dataclass
class Progress:
    """Where a training stands. `best` holds the step whose weights each task keeps, and their validation loss."""

    step: int = 0
    best: dict[str, tuple[int, float]] = field(default_factory=dict)
    lowest: dict[str, float] = field(default_factory=dict)
    waited: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def note(self, metrics: dict[str, dict[str, float | None]]) -> list[str]:
        """Takes a validation down; returns the tasks that keep the weights of this step.

        Where positives are few, differences between validations are mostly chance: a later step is kept unless it is
        worse than the lowest loss by more than TOLERANCE standard errors. A task waits until the lowest loss falls.
        """
        self.history.append({"step": self.step, **metrics})
        kept = []
        for task, found in metrics.items():
            loss, error = found["logloss"], found["logloss_error"]
            if loss is None or error is None:
                continue
            lowest = self.lowest.get(task, np.inf)
            self.waited[task] = 0 if loss < lowest else self.waited.get(task, 0) + 1
            self.lowest[task] = min(loss, lowest)
            if loss <= self.lowest[task] + TOLERANCE * error:
                self.best[task] = (self.step, loss)
                kept.append(task)
        return kept
