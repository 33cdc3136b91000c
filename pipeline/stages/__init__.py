"""The stages, first things first. Heavy imports wait until one really runs."""

from pipeline.stages.checks import Checks
from pipeline.stages.evaluate import Evaluate
from pipeline.stages.export import Export
from pipeline.stages.fit import Fit
from pipeline.stages.partition import Partition
from pipeline.stages.rank import Rank
from pipeline.stages.stage import Stage
from pipeline.stages.train import Train

__all__ = ["RESUMABLE", "STAGES", "Stage", "chain"]

STAGES: dict[str, Stage] = {s.name: s for s in (Partition(), Checks(), Train(), Evaluate(), Export(), Rank(), Fit())}
RESUMABLE = frozenset(stage.name for stage in STAGES.values() if stage.resumable)


def chain(stage: Stage) -> list[Stage]:
    """The stage and what it is made from, first things first."""
    return [*chain(STAGES[stage.upstream]), stage] if stage.upstream else [stage]
