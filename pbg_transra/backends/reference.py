"""The reference processor: PyTorch's autograd computes the gradients."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from artifacts.formats.graph import Side
from pbg_transra.backends.adagrad import HogwildRowAdagrad
from pbg_transra.backends.backend import Rates, Resident, Trained
from pbg_transra.backends.divergence import bad_loss
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.processor import Processor
from pbg_transra.backends.tables import Ends, Partition
from pbg_transra.backends.tail_bias import constant_types
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.embedder import TransRAEmbedder
from pbg_transra.pbg.losses import make_loss
from pbg_transra.pbg.operators import TwoSidedOperator


class ReferenceProcessor(Processor):
    """Trains one batch of edges of one relation; any operator will do."""

    start_method = "spawn"
    level = "reference"

    def __init__(self, model: TransRAEmbedder, config: ModelConfig, workers: int) -> None:
        super().__init__(model, config, workers)
        self.loss_of = make_loss(config)
        self.pull, self.regularization = config.pull, config.regularization
        self.head_weight, self.tail_bias = config.head_weight, config.tail_bias
        self.held = constant_types(model.relations, config)
        self.batch_size = config.batch_size
        # a parameter for each place in the tables, made when it is used, and what moves its rows
        self._rows: dict[Resident, tuple[nn.Parameter, HogwildRowAdagrad]] = {}

    def _train(self, edges: Edges, ends: Ends, rates: Rates) -> Trained:
        rows = self._seat(ends, rates.entities)
        self.optimizer.lr = rates.relations
        total = 0.0
        for batch in relation_batches(edges, self.batch_size):
            self._count_start()
            loss = self._step(batch, rows)
            self._count(len(batch), loss)
            total += loss
        return Trained(len(edges), total)

    def _seat(self, ends: Ends, lr: float) -> list[HogwildRowAdagrad]:
        """Points the model to the partitions; returns what moves their rows, at its learning rate."""
        found: dict[Resident, HogwildRowAdagrad] = {}
        for side in Side:
            for entity, partition in side.pick(ends.heads, ends.tails).items():
                parameter, rows = self._rows_of(partition)
                rows.lr = lr
                self.model.seat(entity, parameter, side)
                found[partition.resident] = rows
        return list(found.values())

    def _rows_of(self, partition: Partition) -> tuple[nn.Parameter, HogwildRowAdagrad]:
        if partition.resident not in self._rows:
            parameter = nn.Parameter(partition.vectors)
            self._rows[partition.resident] = parameter, HogwildRowAdagrad([parameter], 0.0, [partition.sums])
        return self._rows[partition.resident]

    def _step(self, batch: Edges, rows: list[HogwildRowAdagrad]) -> float:
        self.model.zero_grad()
        loss = self.loss(batch)
        if not torch.isfinite(loss):
            raise bad_loss(self.model.relations[int(batch.relations[0])].name, loss.item())
        loss.backward()
        self._hold()
        for optimizer in (self.optimizer, *rows):
            optimizer.step()
        return loss.item()

    def _hold(self) -> None:
        """Components that are no bias but its constant do not move."""
        for resident, (parameter, _) in self._rows.items():
            if resident.entity in self.held and parameter.grad is not None:
                parameter.grad._values()[:, 0] = 0

    def loss(self, batch: Edges) -> Tensor:
        """Sum over a batch of one relation, a scalar: both sides' losses and the regularization, each times the edge's
        weight, times the relation's, and the pull."""
        index = int(batch.relations[0])
        scores, weights = self.model.scores(batch.heads, batch.tails, index), batch.weights
        sides = self.loss_of(scores.rhs_pos, scores.rhs_neg, weights)
        if self.head_weight:
            sides = self.head_weight * self.loss_of(scores.lhs_pos, scores.lhs_neg, weights) + sides
        if self.regularization:
            squares = self.model.square_lengths(batch.heads, batch.tails, index, skipped=int(self.tail_bias))
            if batch.decays is not None:
                squares = squares * batch.decays
            sides = sides + self.regularization * weighted_sum(squares.sum(0), weights)
        loss: Tensor = self.model.relations[index].weight * sides
        operator = self.model.rhs_operators[index]
        if self.pull and isinstance(operator, TwoSidedOperator):
            loss = loss + self.pull * len(batch) * distance_from_identity(operator)
        return loss


def relation_batches(edges: Edges, size: int) -> Iterator[Edges]:
    """All edges once, in batches of one relation, as PBG cuts them: each is of a relation drawn by torch's generator,
    with a chance in proportion to its edges that are left, and has `size` edges except the last one of its relation.

    PBG's own batches forget the edges' weights.
    """
    sorted_relations, order = edges.relations.sort()
    _, counts = sorted_relations.unique_consecutive(return_counts=True)
    groups, left = order.split(counts.tolist()), counts.clone()
    while left.any():
        group = int(torch.multinomial(left.float(), 1))
        begin = int(counts[group] - left[group])
        rows = groups[group][begin : begin + size]
        yield edges[rows]
        left[group] -= len(rows)


def distance_from_identity(operator: TwoSidedOperator) -> Tensor:
    """Sum of ||M - I||^2 over the operator's projections, a scalar; zero for an anchor."""
    identity = torch.eye(operator.dim, dtype=operator.translation.dtype)
    return sum(((m - identity).square().sum() for m in operator.projections()), start=torch.zeros(()))


def weighted_sum(values: Tensor, weights: Tensor | None) -> Tensor:
    """Sum of values (B,) times weights (B,), a scalar; without weights the plain sum."""
    return values.sum() if weights is None else values @ weights.to(values.dtype)
