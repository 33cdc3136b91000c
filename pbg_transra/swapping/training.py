"""Sets a training up, runs the passes that are left, and says what it did."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import torch

from artifacts.errors import DataError
from artifacts.graph import Graph
from pbg_transra.compat import QUIET_IMPORT
from pbg_transra.config import ModelConfig
from pbg_transra.embedder import TransRAEmbedder
from pbg_transra.plan import slots_of
from pbg_transra.processor import Processor
from pbg_transra.swapping.edges import EdgeFiles
from pbg_transra.swapping.files import CheckpointFiles, Position
from pbg_transra.swapping.loop import BucketDone, Loop
from pbg_transra.swapping.residency import Residency
from pbg_transra.swapping.shared import EdgeBuffer, Table
from pbg_transra.swapping.workers import Bench, Workers


@dataclass
class Training:
    """A model on its way through the passes; `buckets` tells what they gave."""

    graph: Graph
    config: ModelConfig
    model: TransRAEmbedder
    processor: Processor
    files: CheckpointFiles
    edges: EdgeFiles
    on_bucket: Callable[[BucketDone], None]
    swap_seconds: float = 0.0
    last_passes: list[Position] = field(default_factory=list)

    @property
    def passes(self) -> int:
        return self.config.epochs * self.config.edge_chunks

    def edges_left(self, start: Position) -> int:
        """Edges that this command will train."""
        per_pass = [sum(self.edges.size(b, chunk) for b in self.edges.counts) for chunk in range(self.edges.chunks)]
        left = sum(per_pass[index % self.edges.chunks] for index in range(self.files.passes, self.passes))
        return left - start.total_edges

    def run(self, start: Position, workers: int) -> None:
        """Memory: the slots of every type (at most 4 of its partitions, 2 with `overlap` off; D + 1 floats a row) and
        the edges of two chunks of a bucket (24 bytes each). Neither grows with the number of partitions."""
        tables = {t.name: self._table(t.name) for t in self.graph.entity_types}
        weighted = any(relation.weighted for relation in self.graph.relations)
        count = 2 if self.config.overlap else 1
        buffers = [EdgeBuffer.allocate(self.edges.largest(), weighted) for _ in range(count)]
        bench = Bench(self.model, self.processor, tables, buffers, self.config.lr)
        with Workers(workers, bench) as team:
            loop = Loop(
                self.graph, self.config, self.model, self.processor, self.files, self.edges, buffers,
                Residency(tables, self.files, self.config), team, self._tell,
            )  # fmt: skip
            while self.files.passes < self.passes:
                self.last_passes = [*self.last_passes, loop.run_pass(start)][-self.edges.chunks :]
                start = Position()

    def mean_loss(self) -> float:
        """Per edge, over the last epoch."""
        edges = sum(position.total_edges for position in self.last_passes)
        return sum(position.total_loss for position in self.last_passes) / max(1, edges)

    def _table(self, name: str) -> Table:
        slots = slots_of(self.graph, name, self.config.overlap)
        return Table.allocate(self.graph.entity_type(name), self.config.dimension, slots)

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
def shared_memory_by_name() -> Iterator[None]:
    """Torch keeps a file open for each shared tensor by default; by name, a manager removes what the killed leave."""
    strategy = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy("file_system")
    try:
        with patch.dict(os.environ, PYTHONWARNINGS=QUIET_IMPORT):
            yield
    finally:
        torch.multiprocessing.set_sharing_strategy(strategy)
