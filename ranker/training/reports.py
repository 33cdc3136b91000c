"""What a ranking tells on its way: plain records, for whoever prints or logs them."""

from dataclasses import dataclass

Metrics = dict[str, dict[str, float | None]]  # by task, then by name


@dataclass(frozen=True)
class ImpressionsPrepared:
    """The log is encoded; `reused` where an earlier call had done so."""

    rows: int
    reused: bool


@dataclass(frozen=True)
class TrialBegan:
    """A training begins, or goes on where a kill left it."""

    arm: str
    seed: int


@dataclass(frozen=True)
class TrialValidated:
    """`steps` is about how many there will be."""

    arm: str
    seed: int
    step: int
    steps: int
    metrics: Metrics


@dataclass(frozen=True)
class TrialEnded:
    """A training is finished; `reused` where an earlier call had finished it, and `seconds` are 0 then."""

    arm: str
    seed: int
    seconds: float
    reused: bool


Report = ImpressionsPrepared | TrialBegan | TrialValidated | TrialEnded
