"""Graph vectors by attention: adapted to the ranker, matched user against ad, and attended to."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from artifacts.embeddings import Embeddings
from ranker.config.sections import AttentionConfig
from ranker.data.batch import Batch
from ranker.data.slots import Layout, Slot
from ranker.model.attention import Adapter, ContextAttention, ListAttention
from ranker.model.kge_table import KgeTable
from ranker.model.list_matches import UNITS, ListMatches
from ranker.model.principal_axes import normed, principal_axes
from ranker.model.relation_scores import RelationScores

SHORTEST = 1.0  # lengths (about the root of the width) that nearly vanish, those of unknown entities, match nothing
SUMMARY = 8  # numbers that the backbone gets of each adapted vector by itself


class KgeAttention(nn.Module):
    """Tabular context (B, C), ID embeddings (B, S, I) and the graph vectors of a batch -> (B, `width`).

    What comes out, side by side: the context's attention over all tokens; partial inner products of every user vector
    with every ad vector (in our measurements the strongest simple feature); a few numbers of each vector by itself,
    among them how long it was before the layer norm; each list held against the ad event by event; and the matches:
    cosines of user and ad vectors, and the scores that the graph's own relations give them.
    """

    def __init__(
        self, config: AttentionConfig, layout: Layout, export: Embeddings, table: KgeTable, context: int, id_dim: int
    ) -> None:
        super().__init__()
        self.table, self.groups = table, config.groups
        self.singles, self.lists = layout.graph(lists=False), layout.graph(lists=True)
        self.places = {slot.name: index for index, slot in enumerate(layout.slots)}
        ads = [slot for slot in self.singles if slot.side == "ad"]
        self.ads = [slot.name for slot in ads]
        self.users = [slot.name for slot in self.singles + self.lists if slot.side == "user"]
        width = config.width
        start = leading(principal_axes(export, sorted({str(slot.type) for slot in layout.graph()})), width)
        self.adapters = nn.ModuleDict({slot.name: Adapter(start, id_dim) for slot in self.singles})
        self.attentions = nn.ModuleDict(
            {slot.name: ListAttention(start, config.heads, len(ads), _same(slot, ads)) for slot in self.lists}
        )
        tokens = len(self.singles) + len(self.lists)
        self.context = ContextAttention(context, width, config.heads)
        self.summaries = nn.ModuleDict({slot.name: nn.Linear(width, SUMMARY) for slot in self.singles + self.lists})
        users = [slot for slot in self.singles if slot.side == "user"]
        self.relations = RelationScores(export, users, ads)
        pairs = len(self.users) * len(self.ads)
        self.matches = pairs + self.relations.width
        self.list_matches = nn.ModuleDict(
            {slot.name: ListMatches(len(ads), slot.width, slot.ages is not None) for slot in self.lists}
        )
        self.width = width + tokens * SUMMARY + pairs * self.groups + len(self.singles) + self.matches
        self.width += len(self.lists) * UNITS

    def forward(self, batch: Batch, context: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Features, matches, and the attention weights: by list slot (B, H, 1 + L), 'context' (B, H, N)."""
        tokens, weights, vectors, known, matched = {}, {}, {}, {}, []
        for slot in self.singles:
            rows = batch.rows[:, slot.tokens]
            vectors[slot.name], known[slot.name] = self.table(str(slot.type), rows)[:, 0], rows >= 0
            own_ids = None if ids is None else ids[:, self.places[slot.name]]
            adapter = self.adapters[slot.name]
            tokens[slot.name] = adapter(normed(vectors[slot.name]), known[slot.name].float(), own_ids)
        ads = torch.cat([tokens[name] for name in self.ads], dim=1)
        exported = torch.stack([normed(vectors[name]) for name in self.ads], dim=1)
        for slot in self.lists:
            rows = batch.rows[:, slot.tokens]
            listed = normed(self.table.exported(str(slot.type), rows))
            ages = None if slot.ages is None else batch.ages[:, slot.ages]
            tokens[slot.name], weights[slot.name] = self.attentions[slot.name](ads, listed, rows >= 0)
            cosines = exported @ listed.transpose(1, 2) / listed.shape[2]
            matched.append(self.list_matches[slot.name](cosines, rows >= 0, ages))
        answer, weights["context"] = self.context(context, torch.stack(list(tokens.values()), dim=1))
        summaries = [self.summaries[name](token) for name, token in tokens.items()]
        lengths = [log_length(vector) for vector in vectors.values()]
        products, cosines = self._products(tokens)
        matches = torch.cat([cosines, self._relation_scores(vectors, known)], dim=1)
        return torch.cat([answer, *summaries, *lengths, products, *matched, matches], dim=1), matches, weights

    def _relation_scores(self, vectors: dict[str, Tensor], known: dict[str, Tensor]) -> Tensor:
        """(B, R), from vectors at the scale that the graph learned them at: translations are of that scale."""
        scales = {slot.name: self.table.scales[str(slot.type)] for slot in self.singles}
        return self.relations({name: vector / scales[name] for name, vector in vectors.items()}, known)

    def _products(self, tokens: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Partial inner products (B, users * ads * groups) and cosines (B, users * ads) of adapted vectors."""
        users = torch.stack([tokens[name] for name in self.users], dim=1)
        ads = torch.stack([tokens[name] for name in self.ads], dim=1)
        size = users.shape[-1] // self.groups
        products = torch.einsum("bugk,bagk->buag", *(side.unflatten(2, (self.groups, size)) for side in (users, ads)))
        lengths = users.norm(dim=2).unsqueeze(2) * ads.norm(dim=2).unsqueeze(1)
        cosines = products.sum(dim=3) / lengths.clamp(min=SHORTEST)
        return products.flatten(1) / math.sqrt(size), cosines.flatten(1)


def leading(axes: Tensor, width: int) -> Tensor:
    """(D, D) -> (`width`, D): as many axes, and zeros where there are fewer."""
    return F.pad(axes[:width], (0, 0, 0, max(width - len(axes), 0)))


def log_length(vectors: Tensor) -> Tensor:
    """(B, D) -> (B, 1): the logarithm of the mean square, 0 for a typical vector and for an unknown entity's."""
    mean_square = vectors.square().mean(dim=1, keepdim=True)
    return torch.where(mean_square > 0, mean_square.clamp(min=1e-12).log(), 0.0)


def _same(slot: Slot, ads: list[Slot]) -> int | None:
    """The place among the ad's slots of the one whose type a list has."""
    return next((index for index, ad in enumerate(ads) if ad.type == slot.type), None)
