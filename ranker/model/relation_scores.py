"""How well a user and an ad fit by each relation of the graph, in the relation's own space."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from artifacts.embeddings import Embeddings, ExportedRelation
from ranker.data.slots import Slot
from ranker.model.repeats import Distinct

SHORTEST = 1e-8  # length below which a vector has no direction
LINEAR = {"projection", "left_projection", "right_projection", "translation"}  # what is scored; other operators are not


class RelationScore(nn.Module):
    """The sides of cos(M_l h + r, M_r t), with the parameters that the graph learned.

    An absent projection is the identity and an absent translation zero, so this covers TransE and an anchor relation.
    """

    left: Tensor | None
    right: Tensor | None
    translation: Tensor | None

    def __init__(self, relation: ExportedRelation) -> None:
        super().__init__()
        found = {name: torch.tensor(value, dtype=torch.float32) for name, value in relation.parameters.items()}
        tied = found.get("projection")
        self.register_buffer("left", found.get("left_projection", tied), persistent=False)
        self.register_buffer("right", found.get("right_projection", tied), persistent=False)
        self.register_buffer("translation", found.get("translation"), persistent=False)

    def heads(self, vectors: Tensor) -> Tensor:
        """Vectors (B, D) in the relation's space, translated and of length 1."""
        left = vectors if self.left is None else F.linear(vectors, self.left)
        return F.normalize(left if self.translation is None else left + self.translation, dim=1, eps=SHORTEST)

    def tails(self, vectors: Tensor) -> Tensor:
        """Vectors (B, D) in the relation's space and of length 1."""
        right = vectors if self.right is None else F.linear(vectors, self.right)
        return F.normalize(right, dim=1, eps=SHORTEST)


class RelationScores(nn.Module):
    """Scores of the relations that lead from a user slot to an ad slot -> (B, `width`); 0 for an unknown entity."""

    def __init__(self, export: Embeddings, users: list[Slot], ads: list[Slot]) -> None:
        super().__init__()
        fitting = [
            (relation, user.name, ad.name)
            for relation in export.relations
            for user in users
            for ad in ads
            if (relation.lhs, relation.rhs) == (user.type, ad.type) and set(relation.parameters) <= LINEAR
        ]
        self.pairs = [(user, ad) for _, user, ad in fitting]
        self.scores = nn.ModuleList(RelationScore(relation) for relation, _, _ in fitting)
        self.width = len(self.pairs)

    def forward(self, vectors: dict[str, Tensor], known: dict[str, Tensor], distinct: Distinct) -> Tensor:
        """`vectors` as exported and `known`, by slot: (B, D) and (B, 1) of users, (U, ...) of the `distinct` ads.

        There must be a relation, `width` > 0.
        """
        found = []
        for (user, ad), score in zip(self.pairs, cast(Iterable[RelationScore], self.scores), strict=True):
            cosine = (score.heads(vectors[user]) * distinct.each(score.tails(vectors[ad]))).sum(dim=1, keepdim=True)
            found.append(cosine * (known[user] & distinct.each(known[ad])))
        return torch.cat(found, dim=1)
