"""Graph vectors by attention: adapted to the ranker, matched user against ad, and attended to."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from artifacts.embeddings import Embeddings
from ranker.batch import Batch
from ranker.config import AttentionConfig
from ranker.kge_table import KgeTable
from ranker.layout import Layout, Slot
from ranker.relation_scores import RelationScores

SHORTEST = 1.0  # lengths (about the root of the width) that nearly vanish, those of unknown entities, match nothing
SUMMARY = 8  # numbers that the backbone gets of each adapted vector by itself


def eye(rows: int, columns: int) -> Tensor:
    return torch.eye(max(rows, columns))[:rows, :columns]


class Adapter(nn.Module):
    """(B, D) graph vectors -> (B, A): layer norm and a linear map that starts at the identity.

    So at the first step two adapted vectors compare as they do in the graph. An entity that the graph does not know
    has a learned vector; where there are ID embeddings (B, I), a gate adds them: the embedding of an id that training
    has not seen is almost zero, and the vector falls back to the graph's.
    """

    def __init__(self, dimension: int, width: int, id_dim: int) -> None:
        super().__init__()
        self.dimension = dimension
        self.linear = nn.Linear(dimension, width)
        self.absent = nn.Parameter(torch.zeros(width))
        nn.init.zeros_(self.linear.bias)
        with torch.no_grad():
            self.linear.weight.copy_(eye(width, dimension))
        self.id_value = nn.Linear(id_dim, width, bias=False) if id_dim else None
        self.id_gate = nn.Linear(id_dim + 1, width) if id_dim else None

    def forward(self, normed: Tensor, known: Tensor, ids: Tensor | None) -> Tensor:
        """`normed` (B, D), `known` (B, 1) 0 or 1, `ids` (B, I) -> (B, A)."""
        adapted = torch.where(known > 0, self.linear(normed), self.absent)
        if ids is None or self.id_value is None or self.id_gate is None:
            return adapted
        gate = torch.sigmoid(self.id_gate(torch.cat([ids, known], dim=1)))
        return adapted + gate * self.id_value(ids)


class ListAttention(nn.Module):
    """The target ad attends to a list of the user's: (B, L, D) vectors -> (B, A).

    Keys and values of a linear map cost L maps a row; moved to the query and to the sum (both are linear) they cost
    one each, exactly. An empty list attends to a learned vector, whose score the others compete with.
    """

    def __init__(self, dimension: int, width: int, heads: int, ad_slots: int, same: int | None) -> None:
        super().__init__()
        self.heads, self.dimension = heads, dimension
        self.query = nn.Linear(ad_slots * width, heads * dimension)
        self.value = nn.Linear(heads * dimension, width)
        self.empty = nn.Parameter(torch.zeros(dimension))
        nn.init.normal_(self.query.weight, std=0.01)
        nn.init.zeros_(self.query.bias)
        nn.init.zeros_(self.value.bias)
        with torch.no_grad():
            self.value.weight.copy_(torch.cat([eye(width, dimension)] * heads, dim=1) / heads)
            if same is not None:  # start at the similarity to the ad's own slot of the same type
                block = torch.cat([eye(dimension, width)] * heads, dim=0)
                self.query.weight[:, same * width : (same + 1) * width] += block

    def forward(self, ads: Tensor, normed: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """`ads` (B, J * A), `normed` (B, L, D), `known` (B, L) -> (B, A) and the weights (B, H, 1 + L)."""
        query = self.query(ads).view(-1, self.heads, self.dimension)
        keys = torch.cat([self.empty.expand(len(ads), 1, -1), normed], dim=1)
        scores = query @ keys.transpose(1, 2) * (self.dimension**-0.5)
        unknown = F.pad(~known, (1, 0)).unsqueeze(1)
        weights = scores.masked_fill(unknown, -torch.inf).softmax(dim=2)
        return self.value((weights @ keys).flatten(1)), weights


class ContextAttention(nn.Module):
    """The tabular context asks, the tokens answer: (B, C) and (B, N, A) -> (B, A) and the weights (B, H, N)."""

    def __init__(self, context: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(context, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(context, width)
        self.residual = nn.Linear(context, width)

    def forward(self, context: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        query, keys, values = (
            part.view(len(context), -1, self.heads, part.shape[-1] // self.heads).transpose(1, 2)
            for part in (self.query(context), self.key(tokens), self.value(tokens))
        )
        weights = (query @ keys.transpose(2, 3) / math.sqrt(query.shape[-1])).softmax(dim=3)
        answer = (weights @ values).flatten(1)
        return self.residual(context) + torch.sigmoid(self.gate(context)) * answer, weights.squeeze(2)


class KgeAttention(nn.Module):
    """Tabular context (B, C), ID embeddings (B, S, I) and the graph vectors of a batch -> (B, `width`).

    What comes out, side by side: the context's attention over all tokens; partial inner products of every user vector
    with every ad vector (in our measurements the strongest simple feature); a few numbers of each vector by itself,
    among them how long it was before the layer norm; and the matches: cosines of user and ad vectors, and the scores
    that the graph's own relations give them.
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
        size, width = table.dimension, config.width
        self.adapters = nn.ModuleDict({slot.name: Adapter(size, width, id_dim) for slot in self.singles})
        self.attentions = nn.ModuleDict(
            {slot.name: ListAttention(size, width, config.heads, len(ads), _same(slot, ads)) for slot in self.lists}
        )
        tokens = len(self.singles) + len(self.lists)
        self.context = ContextAttention(context, width, config.heads)
        self.summaries = nn.ModuleDict({slot.name: nn.Linear(width, SUMMARY) for slot in self.singles + self.lists})
        users = [slot for slot in self.singles if slot.side == "user"]
        self.relations = RelationScores(export, users, ads)
        pairs = len(self.users) * len(self.ads)
        self.matches = pairs + self.relations.width
        self.width = width + tokens * SUMMARY + pairs * self.groups + len(self.singles) + self.matches

    def forward(self, batch: Batch, context: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Features, matches, and the attention weights: by list slot (B, H, 1 + L), 'context' (B, H, N)."""
        tokens, weights, vectors, known = {}, {}, {}, {}
        for slot in self.singles:
            found, known[slot.name] = self._vectors(slot, batch)
            vectors[slot.name] = found[:, 0]
            own_ids = None if ids is None else ids[:, self.places[slot.name]]
            adapter = self.adapters[slot.name]
            tokens[slot.name] = adapter(normed(found[:, 0]), known[slot.name].float(), own_ids)
        ads = torch.cat([tokens[name] for name in self.ads], dim=1)
        for slot in self.lists:
            listed, present = self._vectors(slot, batch)
            tokens[slot.name], weights[slot.name] = self.attentions[slot.name](ads, normed(listed), present)
        answer, weights["context"] = self.context(context, torch.stack(list(tokens.values()), dim=1))
        summaries = [self.summaries[name](token) for name, token in tokens.items()]
        lengths = [log_length(vector) for vector in vectors.values()]
        products, cosines = self._products(tokens)
        matches = torch.cat([cosines, self._relation_scores(vectors, known)], dim=1)
        return torch.cat([answer, *summaries, *lengths, products, matches], dim=1), matches, weights

    def _vectors(self, slot: Slot, batch: Batch) -> tuple[Tensor, Tensor]:
        """Vectors (B, W, D) of a slot and which of them the graph knows, (B, W)."""
        rows = batch.rows[:, slot.tokens]
        return self.table(str(slot.type), rows), rows >= 0

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


def normed(vectors: Tensor) -> Tensor:
    """Layer norm without parameters, over the last dimension."""
    return F.layer_norm(vectors, vectors.shape[-1:])


def log_length(vectors: Tensor) -> Tensor:
    """(B, D) -> (B, 1): the logarithm of the mean square, 0 for a typical vector and for an unknown entity's."""
    mean_square = vectors.square().mean(dim=1, keepdim=True)
    return torch.where(mean_square > 0, mean_square.clamp(min=1e-12).log(), 0.0)


def _same(slot: Slot, ads: list[Slot]) -> int | None:
    """The place among the ad's slots of the one whose type a list has."""
    return next((index for index, ad in enumerate(ads) if ad.type == slot.type), None)
