"""Cosines of translated vectors with those that they name, in one pass over both."""

from torch import Tensor

from ranker.kernels.library import compiled


def cosines(heads: Tensor, translation: Tensor | None, tails: Tensor, kinds: Tensor, shortest: float) -> Tensor:
    """heads (B, D), translated by (D,); tails (U, D) of length 1, of which `kinds` (B,) says whose is whose -> (B,).

    A head shorter than `shortest` counts as of that length. There are no gradients.
    """
    heads, out = heads.contiguous(), heads.new_empty(len(heads))
    compiled().call("cosines", [heads, translation, tails.contiguous(), kinds, out], (*heads.shape, shortest))
    return out
