"""The kernels on NEON, under emulation: a step does what the torch twin's does."""

import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pbg_transra.backends.fused.batches import Batch
from pbg_transra.backends.fused.kernels import kernels_of
from pbg_transra.backends.fused.native_kernels import LOSSES, SIMILARITIES
from pbg_transra.backends.fused.objective import make_objective
from pbg_transra.backends.fused.setting import End, Setting
from pbg_transra.config import ModelConfig, Similarity
from tests.pbg_transra.backends.test_fused import Case, drawn, graph, prepared, random_edges, random_model, tables

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"
FLAGS = ("-O3", "-std=c++17", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-static")
Step = Callable[[Setting, Batch, End, End, tuple[Tensor, Tensor]], Tensor]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which(COMPILER) and shutil.which(EMULATOR)), reason="no ARM compiler or emulator"),
]


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Step:
    """The compiled step, as Kernels.train_."""
    directory = tmp_path_factory.mktemp("arm")
    program, given, found = (directory / name for name in ("step", "given", "found"))
    source = Path(__file__).with_name("step_of_file.cpp")
    shared = source.parents[3] / "artifacts/kernels"
    subprocess.run([COMPILER, *FLAGS, "-I", str(shared), str(source), "-o", str(program)], check=True)

    def step(setting: Setting, batch: Batch, heads: End, tails: End, negatives: tuple[Tensor, Tensor]) -> Tensor:
        objective, relations, edges = setting.objective, setting.relations, batch.edges
        sizes = [len(setting.weights), len(relations.projections[0].values), len(edges), len(batch.starts)]
        sizes += [batch.layout.uniform, heads.vectors.shape[1], batch.layout.chunks == 1]
        sizes += [SIMILARITIES[objective.similarity], LOSSES[objective.loss], objective.similarity == "cos"]
        sizes += [len(heads.vectors), len(tails.vectors)]
        numbers = [1 / objective.negatives, objective.scale, objective.margin, objective.head_weight]
        numbers += [objective.pull, objective.regularization, setting.lr, relations.lr]
        parts = [np.array(sizes, np.int64), np.array(numbers)]
        ends, left_and_right = (edges.heads, edges.tails), (relations.projections[0], relations.projections[-1])
        sides = zip((heads, tails), left_and_right, ends, negatives, strict=True)
        for end, stack, of_edges, of_negatives in sides:
            parts += [part.numpy() for part in (end.vectors, stack.values, of_edges, of_negatives)]
        parts += [relations.translations.values.numpy(), setting.weights.numpy()]
        parts += [batch.starts, batch.lengths, batch.relations, relations.rows.numpy()]
        given.write_bytes(b"".join(part.tobytes() for part in parts))
        subprocess.run([EMULATOR, str(program), str(given), str(found)], check=True)
        content = found.read_bytes()
        for part in moved_by(setting, heads, tails):
            part.copy_(torch.frombuffer(bytearray(content[: part.nbytes]), dtype=part.dtype).view_as(part))
            content = content[part.nbytes :]
        return torch.frombuffer(bytearray(content), dtype=torch.double)

    return step


@pytest.mark.parametrize("similarity", ["dot", "cos", "squared_l2"])
@pytest.mark.parametrize("batch_negatives", [17, 0])
@pytest.mark.parametrize("dimension", [20, 37])
def test_a_step_is_the_twins(emulated: Step, dimension: int, batch_negatives: int, similarity: Similarity) -> None:
    torch.manual_seed(dimension)
    config = ModelConfig(
        operator="transra_untied",
        anchors=("r0",),
        dimension=dimension,
        similarity=similarity,
        scale=1.5,
        pull=0.1,
        regularization=0.2,
        head_weight=0.4,
        batch_size=51,
        batch_negatives=batch_negatives,
        uniform_negatives=13,
    )
    tail_types = ["pin", "pin", "pin"]
    model = random_model(graph(tail_types), config)
    edges = replace(random_edges(120, tail_types, weights=False), decays=None)
    case = Case(config, model, edges)
    for batch, relations in prepared(case):
        negatives = drawn(batch, model)
        ends = [End(table.detach().clone() * 0.3, torch.zeros(len(table)), False) for table in tables(batch, model)]
        weights = torch.tensor([relation.weight for relation in model.relations])
        setting = Setting(make_objective(config), relations, weights, 0.1)
        for stack in relations.stacks:
            stack.sums.zero_()
        others, other = deepcopy(ends), deepcopy(setting)
        rows = negatives.heads.flatten(), negatives.tails.flatten()
        losses = emulated(setting, batch, *ends, rows)
        expected = kernels_of("torch").train_(other, batch, *others, rows)
        torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-4)
        for found, twins in zip(moved_by(setting, *ends), moved_by(other, *others), strict=True):
            torch.testing.assert_close(found, twins, rtol=1e-3, atol=1e-3)


def moved_by(setting: Setting, heads: End, tails: End) -> list[Tensor]:
    """What a step moves, in the order in which the program writes it."""
    stacks = setting.relations.stacks
    sides = ((heads, stacks[1]), (tails, stacks[-1]))
    of_sides = [part for end, stack in sides for part in (end.vectors, end.sums, stack.values, stack.sums)]
    return [*of_sides, stacks[0].values, stacks[0].sums]
