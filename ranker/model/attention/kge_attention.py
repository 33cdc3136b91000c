"""Graph vectors by attention: adapted to the ranker, matched user against ad, and attended to."""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from artifacts.embeddings import Embeddings
from ranker.config.sections import AttentionConfig
from ranker.data.batch import Batch
from ranker.data.ids.slots import Layout, Slot
from ranker.model.attention.held_against import Against, Listed, held_against
from ranker.model.attention.layers import Adapter, ContextAttention, ListAttention
from ranker.model.attention.list_matches import UNITS, ListMatches
from ranker.model.attention.principal_axes import normed, principal_axes
from ranker.model.attention.relation_scores import RelationScores
from ranker.model.attention.row_tokens import Seen, row_tokens
from ranker.model.repeats import Distinct, different, slices
from ranker.model.tables.kge_table import KgeTable

SHORTEST = 1.0  # lengths (about the root of the width) that nearly vanish, those of unknown entities, match nothing
SUMMARY = 8  # numbers that the backbone gets of each adapted vector by itself


class Single(NamedTuple):
    """What is known of a slot of one id, of the (U,) `distinct` rows alone."""

    distinct: Distinct
    vector: Tensor  # (U, D) at unit scale
    normed: Tensor  # (U, D)
    known: Tensor  # (U, 1)
    token: Tensor  # (U, A)


class Asked(NamedTuple):
    """The ads that lists are held against."""

    distinct: Distinct
    tokens: Tensor  # (U, J, A)
    normed: Tensor  # (U, J, D)


class KgeAttention(nn.Module):
    """Tabular context (B, C), ID embeddings (B, S, I) and the graph vectors of a batch -> (B, `width`).

    What comes out, side by side: the context's attention over all tokens; partial inner products of every user vector
    with every ad vector (in our measurements the strongest simple feature); a few numbers of each vector by itself,
    among them how long it was before the layer norm; each list held against the ad event by event; and the matches:
    cosines of user and ad vectors, and the scores that the graph's own relations give them.
    """

    order: Tensor

    def __init__(
        self, config: AttentionConfig, layout: Layout, export: Embeddings, table: KgeTable, context: int, id_dim: int
    ) -> None:
        super().__init__()
        self.table, self.groups = table, config.groups
        self.singles, self.lists = layout.graph(lists=False), layout.graph(lists=True)
        self.places = {slot.name: index for index, slot in enumerate(layout.slots)}
        self.ads = ads = [slot for slot in self.singles if slot.side == "ad"]
        self.users = [slot.name for slot in self.singles + self.lists if slot.side == "user"]
        width = config.width
        start = leading(principal_axes(export, sorted({str(slot.type) for slot in layout.graph()})), width)
        self.adapters = nn.ModuleDict({slot.name: Adapter(start, id_dim) for slot in self.singles})
        self.attentions = nn.ModuleDict(
            {slot.name: ListAttention(start, config.heads, len(ads), _same(slot, ads)) for slot in self.lists}
        )
        tokens = len(self.singles) + len(self.lists)
        # Of tokens, those that are not the ad's come first, and of them the user's last.
        others = [slot.name for slot in self.singles if slot.side != "ad" and slot.name not in self.users]
        self.own = others + self.users
        places = {name: place for place, name in enumerate(self.own + [slot.name for slot in ads])}
        order = torch.tensor([places[slot.name] for slot in self.singles + self.lists])
        self.register_buffer("order", order, persistent=False)
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

    def forward(
        self, batch: Batch, context: Tensor, ids: Tensor | None
    ) -> tuple[list[Tensor], Tensor, dict[str, Tensor]]:
        """Parts of the features, matches, and attention weights: by list slot (B, H, 1 + L), 'context' (B, H, N)."""
        ads, users = Distinct.of(batch, self.ads), Distinct()
        singles = {
            slot.name: self._single(batch, slot, ids, ads if slot.side == "ad" else users) for slot in self.singles
        }
        asked = Asked(
            ads,
            torch.stack([singles[slot.name].token for slot in self.ads], dim=1),
            torch.stack([singles[slot.name].normed for slot in self.ads], dim=1),
        )
        lists = {slot.name: self._list(batch, slot, asked) for slot in self.lists}
        of_own = [lists[name][0] if name in lists else singles[name].token for name in self.own]
        own = torch.stack(of_own, dim=1)
        query, gate, residual = self.context.asked(context)
        seen = row_tokens(own, asked.tokens, ads, query, len(self.users), self.groups)
        answer = self.context.answer(seen.pooled, gate, residual)
        summaries = self._summaries(own, asked)
        lengths = [one.distinct.each(log_length(one.vector)) for one in singles.values()]
        products, cosines = self._products(seen, asked)
        scores = [self._relation_scores(singles, ads)] if self.relations.width else []
        matches = torch.cat([cosines, *scores], dim=1)
        matched = [of_list for _, _, of_list in lists.values()]
        features = [answer, *summaries, *lengths, products, *matched, matches]
        weights = {name: of_list for name, (_, of_list, _) in lists.items()}
        return features, matches, weights | {"context": seen.weights.detach().index_select(2, self.order)}

    def _single(self, batch: Batch, slot: Slot, ids: Tensor | None, distinct: Distinct) -> Single:
        rows = distinct.once(batch.rows[:, slot.tokens])
        vector, known = self.table(str(slot.type), rows)[:, 0], rows >= 0
        scaled = normed(vector)
        own_ids = None if ids is None else distinct.once(ids[:, self.places[slot.name]])
        return Single(distinct, vector, scaled, known, self.adapters[slot.name](scaled, known.float(), own_ids))

    def _list(self, batch: Batch, slot: Slot, asked: Asked) -> tuple[Tensor, Tensor, Tensor]:
        """A list as a token (B, A), the weights (B, H, 1 + L), and its events held against the ads (B, UNITS)."""
        attention = cast(ListAttention, self.attentions[slot.name])
        rows = batch.rows[:, slot.tokens]
        wanted, places = different(rows)
        vectors = normed(self.table.exported(str(slot.type), wanted))
        listed = Listed(vectors, places, rows >= 0, None if slot.ages is None else batch.ages[:, slot.ages])
        query, empty = attention.asked(asked.tokens.flatten(1))
        against = Against(asked.distinct, query, empty, asked.normed)
        held = held_against(listed, against, attention, cast(ListMatches, self.list_matches[slot.name]))
        return attention.answer(held.total, held.weights[:, :, 0]), held.weights, held.events

    def _summaries(self, own: Tensor, asked: Asked) -> list[Tensor]:
        """A few numbers of each token by itself, (B, SUMMARY) each, in the order of the slots."""
        ads = [slot.name for slot in self.ads]
        found = dict(zip(self.own, self._mapped(self.own, own), strict=True))
        each = asked.distinct.each(torch.stack(self._mapped(ads, asked.tokens), dim=1))
        found |= dict(zip(ads, slices(each), strict=True))
        return [found[slot.name] for slot in self.singles + self.lists]

    def _mapped(self, names: list[str], tokens: Tensor) -> list[Tensor]:
        """Tokens (B, N, A) of slots, each by its own map: N of (B, SUMMARY)."""
        maps = [cast(nn.Linear, self.summaries[name]) for name in names]
        return [of_slot(of_tokens) for of_slot, of_tokens in zip(maps, slices(tokens), strict=True)]

    def _relation_scores(self, singles: dict[str, Single], ads: Distinct) -> Tensor:
        """(B, R), from vectors at the scale that the graph learned them at: translations are of that scale."""
        scales = {slot.name: self.table.scales[str(slot.type)] for slot in self.singles}
        vectors = {name: one.vector / scales[name] for name, one in singles.items()}
        return self.relations(vectors, {name: one.known for name, one in singles.items()}, ads)

    def _products(self, seen: Seen, asked: Asked) -> tuple[Tensor, Tensor]:
        """Partial inner products (B, users * ads * groups) and cosines (B, users * ads) of adapted vectors."""
        of_ads = asked.distinct.each(asked.tokens.square().sum(dim=2))
        squares = seen.squares.unsqueeze(2) * of_ads.unsqueeze(1)
        cosines = seen.products.sum(dim=3) / squares.clamp(min=SHORTEST**2).sqrt()
        size = asked.tokens.shape[2] // self.groups
        return seen.products.flatten(1) / math.sqrt(size), cosines.flatten(1)


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
