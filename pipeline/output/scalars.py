"""Scalars of a training for TensorBoard.

    tensorboard --logdir runs/demo

They lie beside the stages, in <run>/tensorboard, where a running TensorBoard finds them during the training and after
it; they are no part of the model, so of no digest.
"""

from artifacts.machine.resources import GIB
from artifacts.scalars import ScalarWriter
from pbg_transra import BucketDone, ValidationDone


class Scalars(ScalarWriter):
    """Curves over the edges trained since the training began, whichever command trained them."""

    def bucket(self, done: BucketDone, memory: int) -> None:
        self.add(
            done.trained,
            {
                "train/loss": done.loss,
                "train/edges_per_second": done.edges / done.seconds,
                "train/swap_seconds": done.waited,
                "train/lr": done.lr,
                "train/memory_gib": memory / GIB,
            },
        )

    def validation(self, done: ValidationDone) -> None:
        self.add(done.trained, {f"validation/{done.metric}": done.score})
