"""The parameters of all relations on a device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pbg_transra.backends.device.adagrad import step_components_
from pbg_transra.backends.device.copies import Copies
from pbg_transra.backends.fused.projection import Spaces
from pbg_transra.backends.fused.relations import Relations, Stack


class DeviceRelations:
    """The stacks of `Relations`, copied: what the host has is as old as the last `bring_back`."""

    def __init__(self, host: Relations, device: torch.device) -> None:
        self._host = host
        self._stacks = [
            Stack(stack.values.to(device, copy=True), stack.sums.to(device, copy=True)) for stack in host.stacks
        ]
        self._fixed = None if host.fixed is None else host.fixed.to(device)
        self._rows = host.rows.to(device)

    def take(self, copies: Copies) -> None:
        """From the host."""
        copies.copy(*self._pairs())

    def bring_back(self, copies: Copies) -> None:
        """To the host."""
        copies.copy(*((theirs, ours) for ours, theirs in self._pairs()))

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        stacks = zip(self._stacks, self._host.stacks, strict=True)
        return [pair for a, b in stacks for pair in ((a.values, b.values), (a.sums, b.sums))]

    def projected(self, relation: int) -> bool:
        """Whether a relation has projections, or is an anchor. Asks the host alone."""
        return bool(self._host.rows[relation] >= 0)

    def spaces(self, relations: Tensor, projected: bool) -> Spaces:
        """Those of `relations` (G,), which all are `projected` or none."""
        translations, *projections = self._stacks
        dimension = translations.values.shape[1]
        squares = (stack.values[self._rows[relations]] for stack in (projections if projected else ()))
        return Spaces(
            tuple(square.view(-1, dimension, dimension) for square in squares), translations.values[relations]
        )

    def update_(self, relations: Tensor, gradients: Spaces, lr: Tensor) -> None:
        """Adagrad, in place; a relation may occur more than once."""
        translations, *projections = self._stacks
        by_translations = gradients.translations
        if self._fixed is not None:
            by_translations = by_translations.masked_fill(self._fixed[relations].unsqueeze(1), 0)
        step_components_(translations.values, translations.sums, relations, by_translations, lr)
        found: Sequence[Tensor] = gradients.projections
        for stack, gradient in zip(projections[: len(found)], found, strict=True):
            step_components_(stack.values, stack.sums, self._rows[relations], gradient.flatten(1), lr)
