"""Lists held against ads, in one pass over their vectors."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ranker.kernels.library import compiled


class ListInputs(NamedTuple):
    """What needs no gradient: B lists of up to L events, and the U different ads that they are held against."""

    vectors: Tensor  # (V, D)
    places: Tensor  # (B, L) rows of `vectors`, -1 where there is none
    kinds: Tensor  # (B,) which of the ads
    ages: Tensor | None  # (B, L) rows of `by_age`
    ads: Tensor  # (U, J, D)


class HeldAgainst(torch.autograd.Function):
    """What each ad asks and units -> weighted sums of a list's vectors, the weights, and sums of units.

    query (U, H, D) and empty (U, H), the scores of an empty list; units that look at each event: weight (J, N),
    by_place (L, N) and by_age (buckets, N) -> (B, H, D), (B, H, 1 + L) and (B, N).
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        empty: Tensor,
        weight: Tensor,
        by_place: Tensor,
        by_age: Tensor | None,
        inputs: ListInputs,
    ) -> tuple[Tensor, Tensor, Tensor]:
        parameters = [query.contiguous(), empty.contiguous(), weight.contiguous(), by_place.contiguous()]
        parameters += [] if by_age is None else [by_age.contiguous()]
        (rows, length), (_, heads, dimension) = inputs.places.shape, query.shape
        ads, units = weight.shape
        total, weights = query.new_empty(rows, heads, dimension), query.new_empty(rows, heads, 1 + length)
        cosines, sums = query.new_empty(rows, length, ads), query.new_empty(rows, units)
        ctx.sizes = (rows, length, heads, dimension, ads, units)
        compiled().call("lists", [*_given(parameters, inputs), total, weights, cosines, sums], ctx.sizes)
        ctx.inputs, ctx.timed = inputs, by_age is not None
        ctx.save_for_backward(*parameters, weights, cosines)
        return total, weights, sums

    @staticmethod
    def backward(ctx: Any, by_total: Tensor, by_weights: Tensor, by_sums: Tensor) -> tuple[Tensor | None, ...]:
        *parameters, weights, cosines = ctx.saved_tensors
        found: list[Tensor | None] = [torch.zeros_like(one) for one in parameters]
        found += [] if ctx.timed else [None]
        by_scores = by_weights.contiguous().clone()  # is used up
        given = [weights, cosines, by_total.contiguous(), by_scores, by_sums.contiguous()]
        compiled().call("lists_backward", [*_given(parameters, ctx.inputs), *given, *found], ctx.sizes)
        return (*found, None)


def _given(parameters: list[Tensor], inputs: ListInputs) -> list[Tensor | None]:
    query, empty, weight, by_place, *by_age = parameters
    aged = by_age[0] if by_age else None
    return [inputs.vectors, inputs.places, inputs.kinds, inputs.ages, query, empty, inputs.ads, weight, by_place, aged]
