"""The reference batch processor: PyTorch's autograd computes the gradients."""

import time
from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchbiggraph.batching import AbstractBatchProcessor, process_in_batches
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.losses import LOSS_FUNCTIONS
from torchbiggraph.model import Scores
from torchbiggraph.stats import Stats
from torchbiggraph.types import EntityName, Partition

from pbg_transra.backends.adagrad import HogwildAdagrad, HogwildOptimizer
from pbg_transra.backends.divergence import Diverged
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.compat import worker_index
from pbg_transra.pbg.embedder import TransRAEmbedder
from pbg_transra.pbg.operators import TwoSidedOperator


class Processor(AbstractBatchProcessor):
    """What trains. PBG hands it to every worker and fills `entity_optimizers`.

    `counters` (workers, 4) is shared. Of each worker: edges trained, their summed loss, when it began its first batch
    and when it ended its last one (seconds of the epoch).
    """

    def __init__(self, model: TransRAEmbedder, config: ModelConfig, workers: int) -> None:
        super().__init__()
        self.global_optimizer = HogwildAdagrad(model.parameters(), lr=config.relation_lr)
        self.entity_optimizers: dict[tuple[EntityName, Partition], HogwildOptimizer] = {}
        self.counters = torch.zeros(workers, 4, dtype=torch.double).share_memory_()
        self._batches = 0

    def process(self, model: TransRAEmbedder, edges: EdgeList, indices: Tensor) -> Stats:
        """Trains edges[indices] in batches; `indices` (E,) are shuffled. Raises Diverged."""
        self._batches = 0
        try:
            return self._train(model, edges, indices)
        except Diverged as error:
            worker = worker_index(len(self.counters))
            raise Diverged(f"{error} in batch {self._batches + 1} of worker {worker}") from error

    def set_relation_lr(self, lr: float) -> None:
        """The learning rate of relations' parameters from now on, in this process."""
        self.global_optimizer.param_groups[0]["lr"] = lr

    @abstractmethod
    def _train(self, model: TransRAEmbedder, edges: EdgeList, indices: Tensor) -> Stats:
        """What `process` promises, batch by batch, each of which is counted."""

    def _own_counters(self) -> NDArray[np.float64]:
        """(4,): numpy, because torch takes as long to write one number as to multiply a small matrix."""
        own: NDArray[np.float64] = self.counters.numpy()[worker_index(len(self.counters))]
        return own

    def _count_start(self) -> None:
        own = self._own_counters()
        if not own[2]:
            own[2] = time.time()

    def _count(self, edges: int, loss: float) -> None:
        own = self._own_counters()
        self._batches += 1
        own[0] += edges
        own[1] += loss
        own[3] = time.time()


class ReferenceProcessor(Processor):
    """Trains one batch of edges of one relation; any operator will do."""

    def __init__(self, model: TransRAEmbedder, config: ModelConfig, workers: int) -> None:
        super().__init__(model, config, workers)
        self.loss_fn = make_loss(config)
        self.pull = config.pull
        self.batch_size = config.batch_size

    def _train(self, model: TransRAEmbedder, edges: EdgeList, indices: Tensor) -> Stats:
        return process_in_batches(self.batch_size, model, self, edges, indices)

    def process_one_batch(self, model: TransRAEmbedder, batch_edges: EdgeList) -> Stats:
        self._count_start()
        model.zero_grad()
        loss = self.loss(model, batch_edges)
        if not torch.isfinite(loss):
            raise diverged(model, batch_edges.get_relation_type_as_scalar(), loss.item())
        loss.backward()
        self.global_optimizer.step()
        for optimizer in self.entity_optimizers.values():
            optimizer.step()
        self._count(len(batch_edges), loss.item())
        return Stats(loss=loss.item(), count=len(batch_edges))

    def loss(self, model: TransRAEmbedder, edges: EdgeList) -> Tensor:
        """Sum over the batch, a scalar: both sides' losses times the relation's weight, and the pull."""
        index = edges.get_relation_type_as_scalar()
        scores: Scores = model(edges)
        sides = self.loss_fn(scores.lhs_pos, scores.lhs_neg) + self.loss_fn(scores.rhs_pos, scores.rhs_neg)
        loss: Tensor = model.relations[index].weight * sides
        operator = model.rhs_operators[index]
        if self.pull and isinstance(operator, TwoSidedOperator):
            loss = loss + self.pull * len(edges) * distance_from_identity(operator)
        return loss


def diverged(model: TransRAEmbedder, relation: int, loss: float) -> Diverged:
    return Diverged(f"relation '{model.relations[relation].name}' has loss {loss}")


def read_counters(counters: Tensor) -> tuple[float, float, float]:
    """Edges, summed loss and seconds from the first batch's begin to the last one's end, over all workers."""
    busy = counters[counters[:, 3] > 0]
    if not len(busy):
        return 0.0, 0.0, 0.0
    seconds = float(busy[:, 3].max() - busy[:, 2].min())
    return float(busy[:, 0].sum()), float(busy[:, 1].sum()), seconds


def leave_out_(counters: Tensor, seconds: float) -> None:
    """Keeps seconds in which no worker trained out of the time that counts: what was counted so far moves by them."""
    counters[counters[:, 3] > 0, 2:] += seconds


def distance_from_identity(operator: TwoSidedOperator) -> Tensor:
    """Sum of ||M - I||^2 over the operator's projections, a scalar; zero for an anchor."""
    identity = torch.eye(operator.dim, dtype=operator.translation.dtype)
    return sum(((m - identity).square().sum() for m in operator.projections()), start=torch.zeros(()))


def make_loss(config: ModelConfig) -> torch.nn.Module:
    """PBG's losses: sums over the batch."""
    kind = LOSS_FUNCTIONS.get_class(config.loss)
    loss: torch.nn.Module = kind(config.margin) if config.loss == "ranking" else kind()
    return loss
