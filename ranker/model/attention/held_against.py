"""Lists held against ads: by a kernel, or the same in torch."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ranker.kernels.library import computes
from ranker.kernels.lists import HeldAgainst, ListInputs
from ranker.model.attention.layers import ListAttention
from ranker.model.attention.list_matches import ListMatches
from ranker.model.repeats import Distinct, by_length, in_order


class Listed(NamedTuple):
    """Lists of up to L events, whose vectors are (V, D)."""

    vectors: Tensor
    places: Tensor | None  # (B, L) which of the vectors; None where they are (B, L, D)
    known: Tensor  # (B, L)
    ages: Tensor | None  # (B, L) buckets


class Against(NamedTuple):
    """The `distinct` ads: what they ask (U, H * D), the scores of an empty list (U, H), and vectors (U, J, D)."""

    distinct: Distinct
    query: Tensor
    empty: Tensor
    normed: Tensor


class Held(NamedTuple):
    total: Tensor  # (B, H, D)
    weights: Tensor  # (B, H, 1 + L)
    events: Tensor  # (B, UNITS)


def held_against(listed: Listed, ads: Against, attention: ListAttention, matches: ListMatches) -> Held:
    """Fine-tuned vectors need gradients, which the kernel has not."""
    if (
        listed.places is None
        or ads.distinct.kinds is None
        or listed.vectors.requires_grad
        or not computes(listed.vectors, ads.query, ads.empty, matches.weight)
    ):
        return _in_torch(listed, ads, attention, matches)
    ages = None if listed.ages is None else listed.ages.contiguous()
    places = torch.where(listed.known, listed.places, -1)
    inputs = ListInputs(listed.vectors, places, ads.distinct.kinds, ages, ads.normed.contiguous())
    query = ads.query.unflatten(1, (attention.heads, -1))
    of_units = (matches.weight.T, *matches.thresholds())
    total, weights, sums = HeldAgainst.apply(query, ads.empty, *of_units, inputs)
    return Held(total, weights, sums.log1p())


def _in_torch(listed: Listed, ads: Against, attention: ListAttention, matches: ListMatches) -> Held:
    """Group by group of lists that are about as long."""
    groups, totals, weights, events, length = [], [], [], [], listed.known.shape[1]
    dimension = listed.vectors.shape[-1]
    for group, width in by_length(listed.known):
        part = (slice(None) if group is None else group, slice(width))
        vectors = listed.vectors
        if listed.places is not None:
            vectors = vectors.index_select(0, listed.places[part].flatten())
        vectors = vectors.view(-1, width, dimension)
        query, empty, normed = (ads.distinct.each(one, group) for one in ads[1:])
        total, of_group = attention.attend(query, empty, vectors, listed.known[part])
        ages = None if listed.ages is None else listed.ages[part]
        groups.append(group)
        totals.append(total)
        weights.append(F.pad(of_group, (0, length - width)))
        events.append(matches(normed @ vectors.transpose(1, 2) / dimension, listed.known[part], ages))
    return Held(*(in_order(groups, values) for values in (totals, weights, events)))
