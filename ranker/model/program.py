"""What torch.export has traced, written as the data that a scorer runs."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from artifacts.files.publish import sync, write_text
from ranker.scoring.network import PROGRAM, WEIGHTS

ATTENTION = "attention."  # begins the name of an output that is no task's
_CHECKS = ("aten._assert", "aten.sym_constrain")  # of sizes and types: ours follow from the layout


def write_program(program: ExportedProgram, names: Sequence[str], directory: Path) -> None:
    """Writes network.json and network.npz; `names` are those of the outputs: tasks, and attention weights after them.

    Raises TypeError for what data cannot say, and for an operator that changes its arguments, which no scorer runs: a
    constant that `forward` makes by `torch.tensor` brings one, so constants are buffers.
    """
    places, weights = _numbered(program)
    inputs, steps = len(places) - len(weights), []
    for node in program.graph.nodes:
        if node.op == "call_function" and not _name(node.target).startswith(_CHECKS):
            if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable:
                raise TypeError(f"{_name(node.target)} in the exported network changes its arguments")
            args = [_written(one, places) for one in node.args]
            kwargs = {name: _written(one, places) for name, one in node.kwargs.items() if one is not None}
            steps.append((_name(node.target), args, kwargs))
            places[node.name] = len(places)
    (outputs,) = (node.args[0] for node in program.graph.nodes if node.op == "output")
    found = {name: places[node.name] for name, node in zip(names, outputs, strict=True)}
    attention = {name: found.pop(f"{ATTENTION}{name}") for name in _attended(names)}
    text = {"inputs": inputs, "weights": list(weights), "steps": steps, "outputs": found, "attention": attention}
    write_text(directory / PROGRAM, json.dumps(text, allow_nan=False) + "\n")
    # A checker takes the names for those of its options.
    np.savez(directory / WEIGHTS, **weights)  # type: ignore[arg-type]
    sync(directory / WEIGHTS)


def _attended(names: Sequence[str]) -> list[str]:
    return [name.removeprefix(ATTENTION) for name in names if name.startswith(ATTENTION)]


def _numbered(program: ExportedProgram) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """The place of each value that is there before the first step, by the node's name, and the weights in theirs."""
    inputs, weights = [], {}
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            inputs.append(spec.arg.name)
        else:
            assert spec.target is not None
            source = program.state_dict if spec.target in program.state_dict else program.constants
            weights[spec.arg.name] = source[spec.target].detach().cpu().contiguous().numpy()
    return {name: index for index, name in enumerate([*inputs, *weights])}, weights


def _name(target: Any) -> str:
    """`aten.linear.default`, or the name of what Python does with sizes."""
    return str(target) if isinstance(target, torch._ops.OpOverload) else str(target.__name__)


def _written(argument: Any, places: dict[str, int]) -> Any:
    if isinstance(argument, torch.fx.Node):
        return {"value": places[argument.name]}
    if isinstance(argument, list | tuple):
        return [_written(one, places) for one in argument]
    if isinstance(argument, float) and not math.isfinite(argument):
        return {"float": str(argument)}
    for kind in (torch.dtype, torch.layout, torch.memory_format, torch.device):
        if isinstance(argument, kind):
            return {kind.__name__: str(argument).removeprefix("torch.")}
    if argument is None or isinstance(argument, bool | int | float | str):
        return argument
    raise TypeError(f"an argument of the exported network is {argument!r}, which JSON cannot say")
