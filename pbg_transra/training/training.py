"""Sets a training up, runs the passes that are left, and says what it did."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch

from artifacts.errors import DataError
from artifacts.graph import Graph
from pbg_transra.backends.reference import Processor, leave_out_
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.compat import QUIET_IMPORT
from pbg_transra.pbg.embedder import TransRAEmbedder
from pbg_transra.training.checkpoint_files import CheckpointFiles, Position
from pbg_transra.training.edge_files import EdgeFiles
from pbg_transra.training.loop import BucketDone, Loop
from pbg_transra.training.residency import Residency, slots_of
from pbg_transra.training.tables import EdgeBuffer, Table
from pbg_transra.training.validation import ValidationDone, Validations
from pbg_transra.training.workers import Bench, Workers


@dataclass
class Training:
    """A model on its way through the passes; `buckets` tells what they gave."""

    graph: Graph
    config: ModelConfig
    model: TransRAEmbedder
    processor: Processor
    files: CheckpointFiles
    edges: EdgeFiles
    validations: Validations
    on_bucket: Callable[[BucketDone], None]
    on_validation: Callable[[ValidationDone], None]
    swap_seconds: float = 0.0

    def edges_left(self, start: Position) -> int:
        """Edges that this command will train."""
        done = self.edges.passes_size(self.files.passes) + start.total_edges
        return max(0, self.edges.passes_size(self.config.passes) - done)

    def run(self, start: Position, workers: int) -> None:
        """Memory: the slots of every type (at most 4 of its partitions, 2 with `overlap` off; D + 1 floats a row) and
        the edges of two chunks of a bucket (24 bytes each). Neither grows with the number of partitions."""
        self._validate()  # a kill may have come between a commit and its validation
        if self._finished:
            return
        tables = {t.name: self._table(t.name) for t in self.graph.entity_types}
        weighted = any(relation.weighted for relation in self.graph.relations)
        count = 2 if self.config.overlap else 1
        buffers = [EdgeBuffer.allocate(self.edges.largest(), weighted) for _ in range(count)]
        bench = Bench(self.model, self.processor, tables, buffers)
        with Workers(workers, bench) as team:
            loop = Loop(
                self.graph, self.config, self.model, self.processor, self.files, self.edges, buffers,
                Residency(tables, self.files, self.config), team, self._tell,
            )  # fmt: skip
            while not self._finished:
                loop.run_pass(start)
                start = Position()
                self._validate()

    @property
    def _finished(self) -> bool:
        return self.files.passes >= self.config.passes or self.validations.over

    def _table(self, name: str) -> Table:
        slots = slots_of(self.graph, name, self.config.overlap)
        return Table.allocate(self.graph.entity_type(name), self.config.dimension, slots)

    def _validate(self) -> None:
        began = time.perf_counter()
        found, best = self.validations.validate(), self.validations.best
        if found is not None and best is not None:
            seconds, trained = time.perf_counter() - began, self.edges.passes_size(self.files.passes)
            leave_out_(self.processor.counters, seconds)
            self.on_validation(ValidationDone(found.epoch, found.mrr, best.epoch, seconds, trained))

    def _tell(self, done: BucketDone) -> None:
        self.swap_seconds += done.waited
        self.on_bucket(done)


def restore_model(files: CheckpointFiles, model: TransRAEmbedder, processor: Processor) -> None:
    """Fills relation parameters and their sums in place. Raises DataError for a key that is missing or unknown."""
    parameters, state = files.load_model()
    if parameters is None:
        return
    expected = model.state_dict()
    if strange := sorted(expected.keys() ^ parameters.keys()):
        raise DataError(
            f"{files.directory}: parameter '{strange[0]}' is in the checkpoint or in the model, not in both"
        )
    model.load_state_dict(parameters)
    if state is not None:
        processor.global_optimizer.load_state_dict(state)


@contextmanager
def shared_memory(config: ModelConfig) -> Iterator[None]:
    """How tensors are shared within the block.

    Forked workers have them already: files without a name, open for each of the few. The reference shares every
    parameter of a relation by itself, too many for open files, so its go by name; a process of torch's removes what the
    killed leave.
    """
    if config.fused:
        yield
        return
    strategy = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy("file_system")
    try:
        with patch.dict(os.environ, PYTHONWARNINGS=QUIET_IMPORT):
            yield
    finally:
        torch.multiprocessing.set_sharing_strategy(strategy)
