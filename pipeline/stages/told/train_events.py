"""What a training tells on its way: the progress bar, log.jsonl and, where the config asks for it, TensorBoard."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from artifacts.machine.resources import tree_memory
from pbg_transra import BucketDone, TrainProgress, ValidationDone
from pipeline.output.console import Tell
from pipeline.output.log import log_event
from pipeline.output.scalars import Scalars

MEMORY_EVERY = 0.5  # seconds: looking walks the pages of every worker, and small buckets are trained in milliseconds


class TrainEvents:
    """Takes the events of one training as they come, the progress from a thread of its own."""

    def __init__(self, bar: tqdm, tell: Tell, scalars: Scalars | None) -> None:
        self._bar, self._tell, self._scalars = bar, tell, scalars
        self._validated: dict[str, str] = {}
        self._memory, self._looked = 0, -MEMORY_EVERY

    def progress(self, now: TrainProgress) -> None:
        self._bar.total = now.total_edges
        self._bar.set_postfix(loss=f"{now.loss:.4f}", **self._validated, refresh=False)
        self._bar.update(now.edges - self._bar.n)
        validated = "".join(f", {metric} {score}" for metric, score in self._validated.items())
        self._tell(f"loss {now.loss:.4f}{validated}", now.edges / max(now.total_edges, 1))

    def bucket(self, done: BucketDone) -> None:
        if time.monotonic() - self._looked >= MEMORY_EVERY:
            self._memory, self._looked = tree_memory(), time.monotonic()
        log_event("bucket", **asdict(done), memory_bytes=self._memory)
        if self._scalars is not None:
            self._scalars.bucket(done, self._memory)

    def validation(self, done: ValidationDone) -> None:
        self._validated = {done.metric: f"{done.score:.4f}"}
        fields = asdict(done)
        log_event("validation", **{fields.pop("metric"): fields.pop("score")}, **fields)
        if self._scalars is not None:
            self._scalars.validation(done)


@contextmanager
def train_events(bar: tqdm, tell: Tell, tensorboard: Path | None) -> Iterator[TrainEvents]:
    """`tell`: what says how far it is where no bar is seen; `tensorboard`: the directory of its scalars, if any are
    wanted."""
    scalars = Scalars(tensorboard) if tensorboard else None
    try:
        yield TrainEvents(bar, tell, scalars)
    finally:
        if scalars is not None:
            scalars.close()
