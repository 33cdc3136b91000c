"""The exported network: operators of ATen in their order, as data, and the numbers that they use.

    network.json   class Program
    network.npz    its weights

torch.export.load takes seconds, unpickles and evaluates text; here only operators that change nothing are called.
"""

import operator
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from artifacts.errors import DataError
from artifacts.files.json_file import read_json
from artifacts.files.regular import open_regular
from ranker.scoring.inputs import Inputs

PROGRAM, WEIGHTS = "network.json", "network.npz"
_ATEN = re.compile(r"aten\.(?P<name>[a-z]\w*|__\w+__)\.(?P<overload>\w+)", re.ASCII)
_READS_FILES = {"from_file"}
_SIZES = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv}
# How an argument that JSON has no word for is written: {"value": 3}, {"dtype": "float32"}, {"float": "-inf"}, ...
_CONSTANTS: dict[str, Callable[[str], Any]] = {
    "dtype": lambda name: _attribute(name, torch.dtype),
    "layout": lambda name: _attribute(name, torch.layout),
    "memory_format": lambda name: _attribute(name, torch.memory_format),
    "device": torch.device,
    "float": float,
}


@dataclass(frozen=True)
class Program:
    """Values are numbered: first the inputs, in the order of `flat`, then the weights, then what each step gives.

    A step is an operator with its arguments, by place and by name. `attention` are weights that are no logits.
    """

    inputs: int
    weights: list[str]
    steps: list[tuple[str, list[Any], dict[str, Any]]]
    outputs: dict[str, int]
    attention: dict[str, int] = field(default_factory=dict)


def flat(inputs: Inputs) -> list[Tensor]:
    """The tensors of inputs in one order; entity types in that of their names."""
    tables = [[table[name] for name in sorted(table)] for table in (inputs.vectors, inputs.degrees)]
    arrays = cast(tuple[Tensor, ...], inputs[: -len(tables)])
    return [*arrays, *(tensor for table in tables for tensor in table)]


class _Step(NamedTuple):
    function: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    dead: tuple[int, ...]  # values that no later step uses


@dataclass(frozen=True)
class _Value:
    """A place in the list of values."""

    index: int


class Network:
    """`Inputs` -> {task: (B,) logits}. Calls share nothing that changes."""

    def __init__(self, directory: Path) -> None:
        """Raises DataError for a network that is missing, broken, or would do anything but compute."""
        path = directory / PROGRAM
        program = read_json(path, Program, "a network that `transra fit` has exported")
        self._inputs, self._outputs, self._attention = program.inputs, program.outputs, program.attention
        self._weights = _weights(directory / WEIGHTS, program.weights)
        try:
            self._steps = _bound(program)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{path}: expected operators of ATen and their arguments ({reason})") from error

    def __call__(self, inputs: Inputs) -> dict[str, Tensor]:
        values = self._values(inputs)
        return {task: values[index] for task, index in self._outputs.items()}

    def attention(self, inputs: Inputs) -> dict[str, Tensor]:
        """Attention weights by list slot (B, H, 1 + L) and `context` (B, H, T); {} of a network without."""
        values = self._values(inputs) if self._attention else []
        return {name: values[index] for name, index in self._attention.items()}

    def _values(self, inputs: Inputs) -> list[Any]:
        given = flat(inputs)
        if len(given) != self._inputs:
            raise ValueError(f"{len(given)} inputs, expected {self._inputs}")
        values: list[Any] = [*given, *self._weights]
        for step in self._steps:
            args = [_filled(one, values) for one in step.args]
            values.append(step.function(*args, **{name: _filled(one, values) for name, one in step.kwargs.items()}))
            for index in step.dead:
                values[index] = None
        return values


def _filled(argument: Any, values: Sequence[Any]) -> Any:
    if isinstance(argument, _Value):
        return values[argument.index]
    return [_filled(one, values) for one in argument] if isinstance(argument, list) else argument


def _weights(path: Path, names: Sequence[str]) -> list[Tensor]:
    what = "the weights of a network"
    open_regular(path, what).close()
    try:
        with np.load(path, allow_pickle=False) as file:
            return [torch.from_numpy(file[name]) for name in names]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: expected {what} ({' '.join(str(error).split())})") from error


def _bound(program: Program) -> list[_Step]:
    first = program.inputs + len(program.weights)
    kept = [*program.outputs.values(), *program.attention.values()]
    last_use = dict.fromkeys(kept, len(program.steps))
    bound = []
    for at in reversed(range(len(program.steps))):
        name, args, kwargs = program.steps[at]
        used: set[int] = set()
        step = _Step(
            _function(name),
            [_argument(one, first + at, used) for one in args],
            {key: _argument(one, first + at, used) for key, one in kwargs.items()},
            tuple(sorted(index for index in used if index not in last_use)),
        )
        last_use |= dict.fromkeys(step.dead, at)
        bound.append(step)
    if not all(0 <= index < first + len(program.steps) for index in kept):
        raise IndexError("an output that is no value")
    return bound[::-1]


def _function(name: str) -> Callable[..., Any]:
    """An operator that computes. Raises ValueError for anything else."""
    if name in _SIZES:
        return _SIZES[name]
    found = _ATEN.fullmatch(name)
    if not found or found["name"] in _READS_FILES:
        raise ValueError(f"{name!a} is none")
    function: Any = getattr(getattr(torch.ops.aten, found["name"]), found["overload"])
    if function._schema.is_mutable:
        raise ValueError(f"{name!a} changes its arguments")
    return function


def _argument(argument: Any, before: int, used: set[int]) -> Any:
    """An argument as it is passed, with `_Value` for values, which are noted in `used`."""
    if isinstance(argument, list):
        return [_argument(one, before, used) for one in argument]
    if not isinstance(argument, Mapping):
        return argument
    ((kind, said),) = argument.items()
    if kind != "value":
        return _CONSTANTS[kind](said)
    if not isinstance(said, int) or not 0 <= said < before:
        raise IndexError(f"value {said!r} is not there yet")
    used.add(said)
    return _Value(said)


def _attribute(name: str, kind: type) -> Any:
    if not isinstance(found := getattr(torch, name), kind):
        raise ValueError(f"torch.{name} is no {kind.__name__}")
    return found
