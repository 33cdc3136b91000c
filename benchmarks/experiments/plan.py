"""What `configs/experiments/*.json` declare: a table of operators on one data set, and the run configs of its cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from artifacts.errors import ConfigError
from artifacts.section import Section, did_you_mean
from pipeline.config.extends import patched
from pipeline.config.loading import dotted, parsed, read_raw, validate
from pipeline.output.console import Console
from pipeline.running.runner import targets
from pipeline.stages import STAGES
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]  # where relative paths of the configs start
NOWHERE = ROOT / "runs" / ".no-workspace"  # what a cell is made from does not depend on an earlier run


class Experiment(Section):
    """A table: a row per operator, whose setting is chosen from the grid on valid and then measured with every seed."""

    config: dict[str, Any] = Field(description="a run config; `extends` is relative to this file")
    operators: dict[str, dict[str, Any]] = Field(min_length=1, description="what each row changes in the config")
    grid: tuple[dict[str, Any], ...] = Field(({},), min_length=1, description="settings of `model`, of all operators")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="the first one chooses the setting")
    asked: tuple[str, ...] = Field((), description="relations whose tails are retrieved by plain similarity")
    minutes: float = Field(gt=0, description="a training with its evaluation is given up after so long")
    arms: tuple[str, ...] = Field((), description="of the ranker, for --rank")
    pairs: str | None = Field(
        None, description="graph of benchmarks/retrieval/retrieval_pairs.py whose files the config reads"
    )


@dataclass(frozen=True)
class Training:
    """The run config, as it is written, of one operator under one setting with one seed."""

    raw: dict[str, Any]

    def fingerprint(self, stage: str, arms: tuple[str, ...] = ()) -> str:
        """Digest of what the stage is made from: versions, keys of the config with an effect, and input files.

        Raises ConfigError and DataError as `transra` does.
        """
        config = validate(self.raw).with_arms(arms or ("all",))
        context = Context(Path("cell.json"), config, ROOT, Workspace(NOWHERE), Console(quiet=True))
        return targets(context, STAGES[stage])[-1].fingerprint


@dataclass(frozen=True)
class Plan:
    """An experiment under the name of its file."""

    name: str
    experiment: Experiment
    base: dict[str, Any]

    def training(self, operator: str, setting: int, seed: int) -> Training:
        """Raises ConfigError for a patch of what is not there."""
        raw = patched(self.base, self.experiment.operators[operator])
        return Training(patched(raw, {"model": {**self.experiment.grid[setting], "seed": seed}}))

    def anchored_types(self) -> set[str]:
        """`lhs->rhs` and back of each anchor of the experiment's config, whatever a row changes in it.

        Relations that a column names count as one: which of them is an anchor is known to the data alone.
        """
        config = validate(self.base)
        anchors = [one for one in config.graph.relations if not one.name or one.name in config.trained.anchors]
        sides = [(one.lhs.type, one.rhs.type) for one in anchors]
        return {f"{lhs}->{rhs}" for pair in sides for lhs, rhs in (pair, pair[::-1])}

    def problems(self) -> Iterator[str]:
        """A line for each thing that the file alone shows to be wrong."""
        for operator in self.experiment.operators:
            for setting in range(len(self.experiment.grid)):
                try:
                    config = validate(self.training(operator, setting, self.experiment.seeds[0]).raw)
                except ConfigError as error:
                    yield from (f"{self.name}: {operator}, setting {setting}: {line}" for line in error.lines)
                    return
                if config.trained.validate_every is None and len(self.experiment.grid) > 1:
                    yield f"{self.name}: config.model: expected validate_every, which chooses a setting of the grid"
                    return
        named = [one.name for one in validate(self.base).graph.relations]
        if None not in named:
            unknown = [name for name in self.experiment.asked if name not in named]
            yield from (f"{self.name}: asked: {name}: no relation{did_you_mean(name, named)}" for name in unknown)


def load_plan(path: Path) -> Plan:
    """Raises ConfigError with a line per problem."""
    try:
        experiment = Experiment.model_validate(parsed(path.read_text(encoding="utf-8")))
    except (OSError, ValidationError, ValueError) as error:
        raise ConfigError(*_lines(path, error)) from error
    raw = dict(experiment.config)
    base = raw.pop("extends", None)
    plan = Plan(path.stem, experiment, patched(read_raw((path.parent / base).resolve()), raw) if base else raw)
    if lines := list(plan.problems()):
        raise ConfigError(*lines)
    return plan


def _lines(path: Path, error: Exception) -> list[str]:
    if isinstance(error, ValidationError):
        return [f"{path}: {dotted(one['loc'])}: {one['msg']}" for one in error.errors()]
    return [f"{path}: expected an experiment in JSON5 ({error})"]


def require_known(names: list[str], known: list[str], option: str) -> None:
    """Raises ConfigError for the first name that is not known."""
    for name in names:
        if name not in known:
            raise ConfigError(f"{option} {name}: unknown{did_you_mean(name, known)}")
