"""How well a user and an ad fit by each relation of the graph, in the relation's own space."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from artifacts.embeddings import Embeddings, ExportedRelation
from ranker.data.ids.slots import Slot
from ranker.kernels.cosines import cosines
from ranker.kernels.library import computes
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
        """Vectors (B, D) in the relation's space, not yet translated."""
        return vectors if self.left is None else F.linear(vectors, self.left)

    def tails(self, vectors: Tensor) -> Tensor:
        """Vectors (B, D) in the relation's space and of length 1."""
        right = vectors if self.right is None else F.linear(vectors, self.right)
        return F.normalize(right, dim=1, eps=SHORTEST)

    def forward(self, heads: Tensor, tails: Tensor, distinct: Distinct) -> Tensor:
        """Of users (B, D) and of the `distinct` ads (U, D) -> (B, 1). Fine-tuned vectors need gradients, which the
        kernel has not."""
        given = [heads, tails] if self.translation is None else [heads, tails, self.translation]
        if distinct.kinds is not None and computes(*given) and not any(one.requires_grad for one in given):
            return cosines(heads, self.translation, tails, distinct.kinds, SHORTEST).unsqueeze(1)
        moved = heads if self.translation is None else heads + self.translation
        return (F.normalize(moved, dim=1, eps=SHORTEST) * distinct.each(tails)).sum(dim=1, keepdim=True)


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
        found, plain = [], {ad: F.normalize(vectors[ad], dim=1, eps=SHORTEST) for _, ad in self.pairs}
        for (user, ad), score in zip(self.pairs, cast(Iterable[RelationScore], self.scores), strict=True):
            tails = plain[ad] if score.right is None else score.tails(vectors[ad])
            found.append(score(score.heads(vectors[user]), tails, distinct) * (known[user] & distinct.each(known[ad])))
        return torch.cat(found, dim=1)
