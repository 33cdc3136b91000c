"""The model: PyTorch-BigGraph's embedder, with a view of its own for the left side."""

import torch
from torch import Tensor, nn
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.entitylist import EntityList
from torchbiggraph.model import (
    OPERATORS,
    MultiRelationEmbedder,
    Negatives,
    Scores,
)
from torchbiggraph.types import Side as PBGSide

from artifacts.formats.graph import Graph, Side
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.comparators import make_comparator
from pbg_transra.pbg.operators import TwoSidedOperator
from pbg_transra.pbg.schema import entity_schemas, relation_schemas


class TransRAEmbedder(MultiRelationEmbedder):
    """Scores sim(left(h), right(t)); stock PBG transforms only the right side, which cannot express TransR.

    The state dict keeps PBG's keys, so PBG's own programs read our checkpoints.
    """

    def seat(self, entity: str, vectors: nn.Parameter, side: Side) -> None:
        """The vectors (n, D) of a type on a side, from now on."""
        self.set_embeddings(entity, vectors, side.pick(PBGSide.LHS, PBGSide.RHS))

    def relation_parameters(self) -> dict[tuple[int, str], nn.Parameter]:
        """By the relation's index and the parameter's name, in the order of `parameters()`."""
        return {
            (index, name): parameter
            for index, operator in enumerate(self.rhs_operators)
            for name, parameter in operator.named_parameters()
        }

    def scores(self, heads: Tensor, tails: Tensor, relation: int) -> Scores:
        """The same as `forward`, of edges given by the rows of their heads and tails, (B,) each."""
        ends = EntityList.from_tensor(heads), EntityList.from_tensor(tails)
        return self(EdgeList(*ends, torch.tensor(relation)))

    def square_lengths(self, heads: Tensor, tails: Tensor, relation: int, skipped: int) -> Tensor:
        """(2, B): |h|^2 and |t|^2 of edges given by the rows of their heads and tails, (B,) each, of the tables' own
        vectors without their first `skipped` components."""
        schema = self.relations[relation]
        left, right = self.lhs_embs[self.EMB_PREFIX + schema.lhs], self.rhs_embs[self.EMB_PREFIX + schema.rhs]
        ends = left(EntityList.from_tensor(heads)), right(EntityList.from_tensor(tails))
        return torch.stack([vectors[:, skipped:].square().sum(1) for vectors in ends])

    def forward(self, edges: EdgeList) -> Scores:
        """Scores a batch of one relation: positives (B,) and the negatives of both sides (B, N)."""
        index = edges.get_relation_type_as_scalar()
        relation = self.relations[index]
        operator = self.rhs_operators[index]
        left = operator.left if isinstance(operator, TwoSidedOperator) else None
        heads = self.lhs_embs[self.EMB_PREFIX + relation.lhs]
        tails = self.rhs_embs[self.EMB_PREFIX + relation.rhs]
        chunk_size, negatives = self._chunking(len(edges))
        positive, head_negatives, tail_negatives = self.forward_direction_agnostic(
            edges.lhs,
            edges.rhs,
            index,
            relation.lhs,
            relation.rhs,
            left,
            operator,
            heads,
            tails,
            heads(edges.lhs),
            tails(edges.rhs),
            chunk_size,
            negatives,
            negatives,
        )
        return Scores(positive, positive, head_negatives, tail_negatives)

    def _chunking(self, num_edges: int) -> tuple[int, Negatives]:
        """Without batch negatives PBG would pad every batch to num_uniform_negs rows."""
        if self.num_batch_negs:
            return self.num_batch_negs, Negatives.BATCH_UNIFORM
        return min(self.num_uniform_negs, num_edges), Negatives.UNIFORM


def make_embedder(graph: Graph, config: ModelConfig) -> TransRAEmbedder:
    """Builds the model without entity tables: training swaps them in, partition by partition.

    `global_emb` stays off: it would add a learned vector per type before the operator.
    """
    relations = relation_schemas(graph, config)
    model = TransRAEmbedder(
        config.dimension,
        relations,
        entity_schemas(graph),
        num_batch_negs=config.batch_negatives,
        num_uniform_negs=config.uniform_negatives,
        disable_lhs_negs=False,
        disable_rhs_negs=False,
        lhs_operators=[None] * len(relations),
        rhs_operators=[OPERATORS.get_class(r.operator)(config.dimension) for r in relations],
        comparator=make_comparator(config),
        global_emb=False,
    )
    for relation, operator in zip(graph.relations, model.rhs_operators, strict=True):
        if relation.name in config.anchors:
            operator.translation.requires_grad_(config.anchor_translation)
    return model
