"""Weights on disk, as one process keeps them: in a file a table is whole, however many processes hold its blocks."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import torch
from torch import Tensor

from artifacts.files.checked_stream import CheckedStream
from ranker.model.ranker_model import RankerModel
from ranker.processes import group
from ranker.processes.blocks import block_of, whole
from ranker.training.optimizers import Optimizer

SUM = "sum"  # of a table's optimiser: a number a row
STATE = "state.pt"
INTERCEPT = "intercept"


class Trained(NamedTuple):
    """A model and its optimisers, the first of which has no table."""

    model: RankerModel
    optimizers: Sequence[Optimizer]

    def save(self, directory: Path, kept: Sequence[str], progress: dict[str, Any]) -> None:
        """Writes best_<task>.pt of the `kept` tasks, then what `resume_` goes on from. Raises OSError.

        The first process writes what the others send it: while it does, tables of several processes take their size of
        the disk twice.
        """
        blocks = {}
        for name, (rows, parameter) in _tables(self.model).items():
            blocks[name] = parameter.detach(), rows
            for optimizer in self.optimizers:
                if SUM in (state := optimizer.state.get(parameter, {})):
                    blocks[f"{name}.{SUM}"] = state[SUM], rows
        with whole(blocks, directory) as found:
            if group.place() > 0:
                return
            weights = {**self.model.state_dict(), **{name: found[name] for name in _tables(self.model)}}
            for task in kept:
                save(best_of(directory, task), weights)
            optimizers = [self._state(optimizer, found) for optimizer in self.optimizers]
            save(directory / STATE, {"model": weights, "optimizers": optimizers, "progress": progress})

    def resume_(self, directory: Path, device: torch.device) -> dict[str, Any]:
        """Takes over what `save` has written; returns the progress."""
        state = torch.load(directory / STATE, device, weights_only=True, mmap=True)
        _take_(self.model, state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            for each in saved["state"].values():
                if SUM in each:
                    each[SUM] = _own(each[SUM])
            optimizer.load_state_dict(saved)
        progress: dict[str, Any] = state["progress"]
        return progress

    def _state(self, optimizer: Optimizer, found: dict[str, Tensor]) -> dict[str, Any]:
        """The state of an optimiser, with whole tables."""
        state = optimizer.state_dict()
        names = {id(parameter): name for name, (_, parameter) in _tables(self.model).items()}
        for index, parameter in enumerate(optimizer.parameters):
            if SUM in state["state"].get(index, {}):
                of_table = found[f"{names[id(parameter)]}.{SUM}"]
                state["state"][index] = {**state["state"][index], SUM: of_table}
        return state


def best_of(directory: Path, task: str) -> Path:
    """Where the weights lie that were best at a task on the validation days."""
    return directory / f"best_{task}.pt"


def set_intercept(path: Path, model: RankerModel) -> None:
    """Gives weights on disk the model's intercept. Raises OSError."""
    weights = torch.load(path, "cpu", weights_only=True, mmap=True)
    save(path, {**weights, INTERCEPT: model.state_dict()[INTERCEPT].cpu()})


def load_(model: RankerModel, path: Path, device: torch.device) -> None:
    """Replaces a model's weights; of a table, only the rows that this process holds are read."""
    _take_(model, torch.load(path, device, weights_only=True, mmap=True))


def save(path: Path, value: Any) -> None:
    """Replaces `path` in one step: a kill leaves the old file or the new one. Raises OSError."""
    aside = path.with_name(f".{path.name}.partial")
    try:
        with closing(CheckedStream(aside)) as stream:
            torch.save(value, cast(IO[bytes], stream))  # it writes and flushes
            stream.check()
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _take_(model: RankerModel, weights: dict[str, Tensor]) -> None:
    model.load_state_dict({**weights, **{name: _own(weights[name]) for name in _tables(model)}})


def _own(table: Tensor) -> Tensor:
    """What this process holds of a whole table."""
    block = block_of(len(table))
    return table[block.start : block.stop]


def _tables(model: RankerModel) -> dict[str, tuple[int, Tensor]]:
    """The rows and the block of each table, by its name among the parameters."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tables = [table for found in model.tables().values() for table in found]
    return {names[id(table.parameter)]: (table.rows, table.parameter) for table in tables}
