"""The arms: models that differ in what they see beside the tabular columns."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from artifacts.errors import ConfigError
from artifacts.section import Section, did_you_mean


class ArmConfig(Section):
    """What a model sees beside the tabular columns."""

    ids: bool = Field(False, description="The hashed ID table, learned from the impressions alone.")
    vectors: Literal["none", "concat", "attention"] = Field(
        "none", description="How graph vectors enter: not at all, fed straight into the backbone, or by attention."
    )
    finetune: bool = Field(False, description="Train the graph vectors too, with ranker.kge.lr; otherwise frozen.")


ALL = "all"
ARMS = {
    "none": ArmConfig(),
    "id_only": ArmConfig(ids=True),
    "frozen_concat": ArmConfig(vectors="concat"),
    "init_finetune": ArmConfig(vectors="concat", finetune=True),
    "id_concat": ArmConfig(ids=True, vectors="concat"),
    "attention_no_id": ArmConfig(vectors="attention"),
    "attention": ArmConfig(ids=True, vectors="attention"),
}

CHEAP = ("none", "attention")  # what is compared unless a config says more: the last word, and what it is better than


def chosen(arms: Mapping[str, ArmConfig], names: Sequence[str]) -> dict[str, ArmConfig]:
    """The arms that are named, in their own order. Raises ConfigError for each name that is no arm."""
    known = [*arms, ALL]
    if lines := [f"--arms: '{name}' is not an arm{did_you_mean(name, known)}" for name in names if name not in known]:
        raise ConfigError(*lines)
    return named(arms, names)


def named(arms: Mapping[str, ArmConfig], names: Sequence[str]) -> dict[str, ArmConfig]:
    """The arms that are named, in their own order."""
    return {name: arm for name, arm in arms.items() if name in names or ALL in names}
