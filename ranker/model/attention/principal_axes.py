"""Graph vectors in a frame of their own: its first axes say most."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from artifacts.embeddings import Embeddings

SAMPLE = 20_000  # vectors of a type that tell its axes


def principal_axes(export: Embeddings, types: Iterable[str]) -> Tensor:
    """The frame (D, D), one axis a row, in which the normed vectors of `types` are largest first; types weigh the same.

    A rotation, so it changes no inner product. The graph's own axes mean nothing by themselves; in these, a group of
    components is a coarse or a fine part of what vectors have in common, and few weights can tell them apart.
    """
    moment = torch.zeros(export.dimension, export.dimension)
    for name in types:
        trained = np.flatnonzero(export.trained(name))
        rows = trained[:: max(len(trained) // SAMPLE, 1)]
        sample = normed(torch.tensor(export.vectors(name)[rows], dtype=torch.float32))
        moment += sample.T @ sample / max(len(sample), 1)
    axes = torch.linalg.eigh(moment).eigenvectors.flip(1).T
    signs = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()  # else a matter of the library
    return axes * signs


def normed(vectors: Tensor) -> Tensor:
    """Layer norm without parameters, over the last dimension, whatever the scale; zeros stay zeros."""
    return F.layer_norm(vectors, vectors.shape[-1:], eps=1e-12)
