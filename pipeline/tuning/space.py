"""What `transra tune` chooses among: keys of `model` and their ranges, and how a trial is trained and judged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.errors import ConfigError
from artifacts.formats.graph import Graph
from pbg_transra import SPACE, ModelConfig

VERSION = 2  # raised when trials of an earlier space would mean something else
LONGER = 3  # a trial trains up to so many times the config's epochs
PATIENCE = 3  # validations without a better one, of such a trial
MOST_EPOCHS = 100_000
METRICS = {"mrr": "MRR", "retrieval": "recall@20"}  # by what trials are judged by: what it is called


@dataclass(frozen=True)
class Dimension:
    """A key with its options or, without any, its range on a logarithmic scale."""

    key: str
    low: float = 0.0
    high: float = 0.0
    options: tuple[Any, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether it could have chosen the value."""
        return value in self.options if self.options else self.low <= value <= self.high


SIMILARITY = Dimension("similarity", options=("cos", "dot"))
SCALE = Dimension("scale", 2, 32)
REGULARIZATION = Dimension("regularization", 0.01, 0.3)
OF_MANY_EDGES = 0.04  # regularization that suits entities with a hundred edges each; the default suits ten
TAIL_BIAS = Dimension("tail_bias", options=(False, True))
HEAD_WEIGHT = Dimension("head_weight", options=(0.0, 1.0))
PULL = Dimension("pull", 1e-3, 10)
LR = Dimension("lr", 0.03, 0.3)
RELATION_LR = Dimension("relation_lr", 0.003, 0.1)
NEGATIVES = Dimension("uniform_negatives", options=(100, 300))
PROJECTING = ("transra", "transra_untied", "transr")


@dataclass(frozen=True)
class Space:
    """What may be chosen for one config on one graph.

    `free`: keys that may change. `projected`: whether a relation has a projection. `biased`: whether `tail_bias` fits.
    """

    model: ModelConfig
    by: str
    free: frozenset[str]
    projected: bool
    biased: bool

    def settings(self, pick: Callable[[Dimension], Any]) -> dict[str, Any]:
        """Values by key of what `pick` chooses, one dimension after the other."""
        chosen: dict[str, Any] = {}
        if self._any_similarity:
            chosen["similarity"] = pick(SIMILARITY)
        chosen |= {key: value for key, value in self._implied(chosen).items() if key in self.free}
        for dimension in self._dimensions(chosen):
            if dimension.key in self.free:
                chosen[dimension.key] = pick(dimension)
        return chosen

    def tried_early(self, as_it_is: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Values by key that are tried next to those of the config, since one default suits no two logs."""
        if as_it_is.get(REGULARIZATION.key, 0.0) > OF_MANY_EDGES:
            yield {**as_it_is, REGULARIZATION.key: OF_MANY_EDGES}

    @property
    def longer(self) -> bool:
        """Whether trials may train longer than the config: a falling learning rate would be another one then."""
        return "epochs" in self.free and self.model.schedule == "constant"

    @property
    def _any_similarity(self) -> bool:
        needs_dot = self.model.tail_bias and "tail_bias" not in self.free
        return {"similarity", "scale"} <= self.free and not needs_dot

    def _implied(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """What goes with a similarity."""
        if self._similarity(chosen) == "dot":
            return {"scale": 1.0, **({"anchor_translation": False} if self.model.anchors else {})}
        translated = {"anchor_translation": True} if self.model.anchors else {}
        return {"tail_bias": False, "regularization": 0.0, **translated} if "similarity" in chosen else {}

    def _similarity(self, chosen: dict[str, Any]) -> str:
        return str(chosen.get("similarity", self.model.similarity))

    def _dimensions(self, chosen: dict[str, Any]) -> Iterator[Dimension]:
        similarity = self._similarity(chosen)
        if similarity == "cos":
            yield SCALE
        if similarity == "dot":
            yield REGULARIZATION
            if self.biased:
                yield TAIL_BIAS
        if self.by == "retrieval":
            yield HEAD_WEIGHT
        if self.projected:
            yield PULL
        yield LR
        if self.projected or chosen.get("anchor_translation", self.model.anchor_translation):
            yield RELATION_LR
        yield NEGATIVES


def space_of(graph: Graph, model: ModelConfig, biased: bool, everything: bool) -> Space:
    """What may be chosen: keys that the config does not write, or with `everything` those that it writes, too; of a
    training that begins warm, none that makes another space, whose vectors it could not take over."""
    free = frozenset(ModelConfig.model_fields) - (frozenset() if everything else model.model_fields_set)
    free -= frozenset(SPACE) if model.warm_start else frozenset()
    projected = model.operator in PROJECTING and any(one.name not in model.anchors for one in graph.relations)
    return Space(model, judged_by(model), free, projected, biased)


def judged_by(model: ModelConfig) -> str:
    """What trials are compared by: `model.validate_by` if it is written, else what the model seems to be for."""
    if "validate_by" in model.model_fields_set:
        return model.validate_by
    return "retrieval" if model.anchors else "mrr"


def require_judgeable(graph: Graph, model: ModelConfig) -> None:
    """Raises ConfigError where the valid split has no edge that trials could be compared by."""
    by_anchors = judged_by(model) == "retrieval" and bool(model.anchors)
    asked = [one for one in graph.relations if not by_anchors or one.name in model.anchors]
    if not any(one.edges["valid"] and one.edges["train"] for one in asked):
        which = "of the anchors " if by_anchors else ""
        raise ConfigError(f"graph.split: the valid split has no edge {which}that was trained on; tune chooses by it")


def trial_model(space: Space, settings: dict[str, Any], as_it_is: bool) -> ModelConfig:
    """What a trial trains: the config with the settings, validated on its way."""
    model, longer = space.model, space.longer and not as_it_is
    changes = {
        **settings,
        "epochs": min(MOST_EPOCHS, model.epochs * LONGER) if longer else model.epochs,
        "validate_every": model.validate_every or max(1, model.epochs // 5),
        "validate_by": space.by,
        "patience": model.patience or (PATIENCE if longer else None),
        "tensorboard": False,
    }
    return ModelConfig.model_validate({**model.model_dump(), **changes})


def judged(space: Space, scores: Sequence[tuple[int, float]], as_it_is: bool) -> tuple[float, dict[str, Any]]:
    """The score of the model that a training would leave, given pairs of epoch and score, and the keys that make it
    leave that: the best epoch's, unless the config keeps its number of epochs and has no validations of its own."""
    validates = space.model.validate_every is not None
    keeps = {"validate_by": space.by} if validates and space.by != space.model.validate_by else {}
    if as_it_is or not space.longer:
        return (max(score for _, score in scores) if validates else scores[-1][1]), keeps
    epoch, score = max(scores, key=lambda each: each[1])
    return score, {**keeps, **({"epochs": epoch} if epoch != space.model.epochs else {})}
