"""How well a user and an ad fit by each relation of the graph, in the relation's own space."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from artifacts.embeddings import Embeddings, ExportedRelation
from ranker.data.slots import Slot

LINEAR = {"projection", "left_projection", "right_projection", "translation"}  # what is scored; other operators are not


class RelationScore(nn.Module):
    """cos(M_l h + r, M_r t) of heads and tails, (B, D) each -> (B, 1), with the parameters that the graph learned.

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

    def forward(self, heads: Tensor, tails: Tensor) -> Tensor:
        left = heads if self.left is None else F.linear(heads, self.left)
        right = tails if self.right is None else F.linear(tails, self.right)
        if self.translation is not None:
            left = left + self.translation
        return F.cosine_similarity(left, right, dim=1).unsqueeze(1)


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

    def forward(self, vectors: dict[str, Tensor], known: dict[str, Tensor]) -> Tensor:
        """`vectors` (B, D) as exported and `known` (B, 1), by slot."""
        if not self.pairs:
            return next(iter(vectors.values()))[:, :0]
        found = [
            score(vectors[user], vectors[ad]) * (known[user] & known[ad])
            for (user, ad), score in zip(self.pairs, self.scores, strict=True)
        ]
        return torch.cat(found, dim=1)
