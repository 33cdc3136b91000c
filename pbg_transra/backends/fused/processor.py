"""The fused processor: closed-form gradients, batches that may hold several relations."""

import torch
from torch import Tensor

from pbg_transra.backends.backend import Rates, Trained
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.fused.batches import Batcher
from pbg_transra.backends.fused.kernels import kernels_of
from pbg_transra.backends.fused.levels import chosen_level
from pbg_transra.backends.fused.objective import make_objective
from pbg_transra.backends.fused.relations import Relations
from pbg_transra.backends.fused.setting import Setting
from pbg_transra.backends.fused.worker import Worker
from pbg_transra.backends.processor import Processor
from pbg_transra.backends.tables import Ends
from pbg_transra.backends.tail_bias import constant_types
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.embedder import TransRAEmbedder
from pbg_transra.pbg.operators import TwoSidedOperator


class FusedProcessor(Processor):
    """Only for two-sided operators.

    It moves the parameters of relations into a few tensors, see `Relations`; the model's become views of those.
    """

    start_method = "fork"

    def __init__(self, model: TransRAEmbedder, config: ModelConfig, workers: int) -> None:
        super().__init__(model, config, workers)
        self.level = chosen_level()
        operators = list(model.rhs_operators)
        self.objective = make_objective(config)
        self.relations = Relations(operators, self.optimizer)
        self.weights = torch.tensor([relation.weight for relation in model.relations])
        self.held = constant_types(model.relations, config)
        self.batcher = Batcher(kinds_of(model, operators), config)

    def _train(self, edges: Edges, ends: Ends, rates: Rates) -> Trained:
        self._count_start()
        self.relations.lr = rates.relations
        setting = Setting(self.objective, self.relations, self.weights, rates.entities)
        worker = Worker(self.model.relations, kernels_of(self.level), setting, ends, self.held)
        total = 0.0
        for batch in self.batcher.batches(edges):
            loss = worker.train(batch)
            self._count(batch.count, loss)
            total += loss
        return Trained(len(edges), total)


def kinds_of(model: TransRAEmbedder, operators: list[TwoSidedOperator]) -> Tensor:
    """(R,): relations with the same types and the same kind of operator have the same number."""
    kinds = [(r.lhs, r.rhs, type(o)) for r, o in zip(model.relations, operators, strict=True)]
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    return torch.tensor([numbers[kind] for kind in kinds])
