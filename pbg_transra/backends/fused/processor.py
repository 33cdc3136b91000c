"""The fused batch processor: what training hands to its workers."""

import torch
from torch import Tensor
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.stats import Stats

from pbg_transra.backends.fused.batches import Batcher, Edges
from pbg_transra.backends.fused.objective import make_objective
from pbg_transra.backends.fused.relations import Relations
from pbg_transra.backends.fused.worker import Worker
from pbg_transra.backends.reference import Processor
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.embedder import TransRAEmbedder
from pbg_transra.pbg.operators import TwoSidedOperator


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

    def set_relation_lr(self, lr: float) -> None:
        self.relations.lr = lr

    def process_one_batch(self, model: TransRAEmbedder, batch_edges: EdgeList) -> Stats:
        return self.process(model, batch_edges, torch.arange(len(batch_edges)))

    def _train(self, model: TransRAEmbedder, edges: EdgeList, indices: Tensor) -> Stats:
        self._count_start()
        worker = Worker(model, self.objective, self.relations, self.weights, self.entity_optimizers.values())
        total = 0.0
        for batch in self.batcher.batches(edges_of(edges)[indices]):
            loss = worker.train(batch)
            self._count(batch.edges, loss)
            total += loss
        return Stats(loss=total, count=len(indices))


def kinds_of(model: TransRAEmbedder, operators: list[TwoSidedOperator]) -> Tensor:
    """(R,): relations with the same types and the same kind of operator have the same number."""
    kinds = [(r.lhs, r.rhs, type(o)) for r, o in zip(model.relations, operators, strict=True)]
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    return torch.tensor([numbers[kind] for kind in kinds])


def edges_of(edges: EdgeList) -> Edges:
    relations = edges.get_relation_type_as_vector()
    weights: Tensor | None = getattr(edges, "weights", None)  # PBG's own have none
    return Edges(edges.lhs.to_tensor(), edges.rhs.to_tensor(), relations, weights)
