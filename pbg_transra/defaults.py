"""Defaults of `model` that depend on the graph.

Where anchors lead from some types to others, their similarity in the exported space is what a reader ranks by: so that
is what is trained, by inner product, with nothing added that is not exported. Within one type it cannot be: an inner
product does not know heads from tails. docs/transra.md has the measurements.
"""

from collections.abc import Collection

from pbg_transra.backends.tail_bias import RelationTypes, types_on_both_sides
from pbg_transra.config import ANCHORED, ModelConfig

INNER_PRODUCT = {
    "similarity": "dot",
    "scale": 1.0,
    "anchor_translation": False,
    "regularization": 0.15,
    "tail_bias": True,
}


def with_defaults(config: ModelConfig, relations: Collection[RelationTypes]) -> ModelConfig:
    """The config with INNER_PRODUCT for what is not written, where that fits the anchors and what is written.

    `relations`: those that anchors may be, with their types. What counts as written stays the same.
    """
    if not _fits(config, relations):
        return config
    chosen = {key: value for key, value in INNER_PRODUCT.items() if key not in config.model_fields_set}
    values = {key: getattr(config, key) for key in type(config).model_fields}
    return ModelConfig.model_construct(_fields_set=set(config.model_fields_set), **{**values, **chosen})


def _fits(config: ModelConfig, relations: Collection[RelationTypes]) -> bool:
    """A `scale` without `similarity` is one for cos; other losses and checkpoints of PBG have scores of their own."""
    written = config.model_fields_set
    dot = config.similarity == "dot" if "similarity" in written else "scale" not in written
    anchored = config.operator in ANCHORED and bool(config.anchors)
    if not (dot and anchored and config.loss == "softmax" and config.start_from is None):
        return False
    return not types_on_both_sides(relations, config.model_copy(update={"tail_bias": True}))
