"""The fused batch processor: what PyTorch-BigGraph hands to its workers."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.stats import Stats

from pbg_transra.batches import Batch, Batcher, Edges
from pbg_transra.config import ModelConfig
from pbg_transra.embedder import TransRAEmbedder
from pbg_transra.fused.kernels import Kernels, fastest_kernels
from pbg_transra.fused.layout import Buffers, Layout
from pbg_transra.fused.objective import make_objective
from pbg_transra.fused.relations import Relations
from pbg_transra.fused.step import gradients
from pbg_transra.operators import TwoSidedOperator
from pbg_transra.processor import Processor, diverged

KEPT_LAYOUTS = 8


@dataclass(frozen=True)
class Table:
    """A resident partition of a type: vectors (N, D) and sums of row-wise Adagrad (N,), in shared memory."""

    vectors: Tensor
    sums: Tensor
    lr: float


class FusedProcessor(Processor):
    """Trains batches that may hold several relations; only for two-sided operators.

    It moves the parameters of relations into a few tensors, see `Relations`; the model's become views of those.
    """

    def __init__(self, model: TransRAEmbedder, config: ModelConfig, workers: int) -> None:
        super().__init__(model, config, workers)
        operators = list(model.rhs_operators)
        self.objective = make_objective(config)
        self.relations = Relations(operators, self.global_optimizer)
        self.weights = torch.tensor([relation.weight for relation in model.relations])
        self.batcher = Batcher(kinds_of(model, operators), config)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker gets: `relations` has all that it needs of the optimiser."""
        return {name: value for name, value in self.__dict__.items() if name != "global_optimizer"}

    def process_one_batch(self, model: TransRAEmbedder, batch_edges: EdgeList) -> Stats:
        return self.process(model, batch_edges, torch.arange(len(batch_edges)))

    def process(self, model: TransRAEmbedder, edges: EdgeList, indices: Tensor) -> Stats:
        self._count_start()
        worker = Worker(self, model)
        total = 0.0
        for batch in self.batcher.batches(edges_of(edges)[indices]):
            loss = worker.train(batch)
            self._count(batch.edges, loss)
            total += loss
        return Stats(loss=total, count=len(indices))


class Worker:
    """One process's share of a bucket: the resident tables, and memory that batches use one after the other."""

    def __init__(self, processor: FusedProcessor, model: TransRAEmbedder) -> None:
        self.processor = processor
        self.model = model
        self.kernels: Kernels = fastest_kernels()
        self._tables = {
            parameter.data_ptr(): Table(parameter.detach(), state["sum"], optimizer.param_groups[0]["lr"])
            for optimizer in processor.entity_optimizers.values()
            for parameter, state in optimizer.state.items()
        }
        self._known_sides: dict[int, tuple[Table, Table]] = {}
        self._buffers: OrderedDict[Layout, Buffers] = OrderedDict()

    def train(self, batch: Batch) -> float:
        """Takes one step; returns the batch's loss."""
        relations = self.processor.relations
        heads, tails = self._sides(int(batch.relations[0]))
        buffers = self._buffers_of(batch.layout, heads.vectors)
        rows = self._gather(batch, heads, tails, buffers)
        spaces = relations.spaces(batch.relations)
        found = gradients(self.kernels, self.processor.objective, buffers, spaces, self._weights(batch), batch.counts)
        loss = float(found.losses.sum())
        if not math.isfinite(loss):
            self._raise_diverged(batch, found.losses)
        self._step_rows(heads, tails, rows, found.vectors)
        relations.update_(batch.relations, found.spaces, self.kernels)
        return loss

    def _sides(self, relation: int) -> tuple[Table, Table]:
        if relation not in self._known_sides:
            schema, prefix = self.model.relations[relation], self.model.EMB_PREFIX
            heads = self.model.lhs_embs[prefix + schema.lhs].weight
            tails = self.model.rhs_embs[prefix + schema.rhs].weight
            self._known_sides[relation] = self._tables[heads.data_ptr()], self._tables[tails.data_ptr()]
        return self._known_sides[relation]

    def _buffers_of(self, layout: Layout, vectors: Tensor) -> Buffers:
        if layout not in self._buffers:
            self._buffers[layout] = Buffers(layout, vectors.shape[1], vectors.dtype)
            if len(self._buffers) > KEPT_LAYOUTS:
                self._buffers.popitem(last=False)
        self._buffers.move_to_end(layout)
        return self._buffers[layout]

    def _gather(self, batch: Batch, heads: Table, tails: Table, buffers: Buffers) -> Tensor:
        """Draws the uniform negatives and copies all vectors into `buffers`; returns their rows (N,)."""
        layout, drawn = batch.layout, (batch.layout.groups * batch.layout.uniform,)
        sides = []
        for positives, table in ((batch.heads, heads), (batch.tails, tails)):
            sides += [positives.flatten(), torch.randint(len(table.vectors), drawn)]
        rows = torch.cat(sides)
        torch.index_select(heads.vectors, 0, rows[: layout.half], out=buffers.vectors[: layout.half])
        torch.index_select(tails.vectors, 0, rows[layout.half :], out=buffers.vectors[layout.half :])
        return rows

    def _weights(self, batch: Batch) -> Tensor:
        """(G, n) factors on the edges' losses."""
        of_relations = self.processor.weights[batch.relations].unsqueeze(1)
        if batch.weights is not None:
            return of_relations * batch.weights
        return of_relations.expand_as(batch.heads).contiguous()

    def _step_rows(self, heads: Table, tails: Table, rows: Tensor, by_vectors: Tensor) -> None:
        """Both sides at once where they are one table: the update is not linear, so each row may move only once."""
        step, half = self.kernels.step_rows_, len(rows) // 2
        if heads is tails:
            step(heads.vectors, heads.sums, rows, by_vectors, heads.lr)
            return
        step(heads.vectors, heads.sums, rows[:half], by_vectors[:half], heads.lr)
        step(tails.vectors, tails.sums, rows[half:], by_vectors[half:], tails.lr)

    def _raise_diverged(self, batch: Batch, losses: Tensor) -> None:
        group = int((~losses.isfinite()).nonzero()[0])
        raise diverged(self.model, int(batch.relations.expand(len(losses))[group]), float(losses[group]))


def kinds_of(model: TransRAEmbedder, operators: list[TwoSidedOperator]) -> Tensor:
    """(R,): relations with the same types and the same kind of operator have the same number."""
    kinds = [(r.lhs, r.rhs, type(o)) for r, o in zip(model.relations, operators, strict=True)]
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    return torch.tensor([numbers[kind] for kind in kinds])


def edges_of(edges: EdgeList) -> Edges:
    relations = edges.get_relation_type_as_vector()
    weights: Tensor | None = getattr(edges, "weights", None)  # PBG's own have none
    return Edges(edges.lhs.to_tensor(), edges.rhs.to_tensor(), relations, weights)
