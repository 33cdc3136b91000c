"""The kernels on NEON, under emulation: a step gives what the torch twin gives."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pbg_transra.backends.fused.kernels import kernels_of
from pbg_transra.backends.fused.layout import Buffers, Layout
from pbg_transra.backends.fused.native_kernels import LOSSES, SIMILARITIES
from pbg_transra.backends.fused.objective import Objective
from pbg_transra.backends.fused.projection import Spaces
from pbg_transra.config import Similarity

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"
FLAGS = ("-O3", "-std=c++17", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-static")
OBJECTIVE = Objective("dot", "softmax", 1.5, 0.1, 17, 0, 0, 0.4, tail_bias=False)
Step = Callable[[Objective, Buffers, Spaces, Tensor, Tensor], list[Tensor]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which(COMPILER) and shutil.which(EMULATOR)), reason="no ARM compiler or emulator"),
]


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Step:
    """The compiled step: losses and gradients by vectors, projections and translations."""
    directory = tmp_path_factory.mktemp("arm")
    program, given, found = (directory / name for name in ("step", "given", "found"))
    source = Path(__file__).with_name("step_of_file.cpp")
    shared = source.parents[2] / "artifacts"
    subprocess.run([COMPILER, *FLAGS, "-I", str(shared), str(source), "-o", str(program)], check=True)

    def step(objective: Objective, buffers: Buffers, spaces: Spaces, weights: Tensor, counts: Tensor) -> list[Tensor]:
        layout, vectors = buffers.layout, buffers.vectors
        kind = SIMILARITIES[objective.similarity], LOSSES[objective.loss], int(objective.similarity == "cos")
        shape = layout.groups, layout.chunks, layout.size, layout.uniform, vectors.shape[1]
        parts = [np.array([len(spaces.translations), *shape, *kind])]
        parts += [np.array([1 / objective.negatives, objective.scale, objective.margin, objective.head_weight])]
        parts += [part.numpy() for part in (vectors, *spaces.projections, spaces.translations, weights, counts)]
        given.write_bytes(b"".join(part.tobytes() for part in parts))
        subprocess.run([EMULATOR, str(program), str(given), str(found)], check=True)
        content, outputs = found.read_bytes(), []
        for like in (vectors, *spaces.projections, spaces.translations):
            outputs.append(torch.frombuffer(bytearray(content[: like.nbytes]), dtype=like.dtype).view_as(like))
            content = content[like.nbytes :]
        return [torch.frombuffer(bytearray(content), dtype=torch.double), *outputs]

    return step


@pytest.mark.parametrize("similarity", ["dot", "cos", "squared_l2"])
@pytest.mark.parametrize(("layout", "relations"), [(Layout(3, 1, 17, 13), 1), (Layout(3, 4, 1, 13), 3)])
@pytest.mark.parametrize("dimension", [20, 37])
def test_a_step_is_the_twins(
    emulated: Step, dimension: int, layout: Layout, relations: int, similarity: Similarity
) -> None:
    torch.manual_seed(dimension)
    objective = replace(OBJECTIVE, similarity=similarity)
    buffers = Buffers(layout, dimension, torch.float)
    buffers.vectors.normal_(std=0.3)
    projections = torch.eye(dimension) + 0.1 * torch.randn(2, relations, dimension, dimension)
    spaces = Spaces(tuple(projections.contiguous()), 0.1 * torch.randn(relations, dimension))
    weights = torch.rand(layout.groups, layout.chunks * layout.size) + 0.5
    counts = torch.full((layout.groups * layout.chunks,), layout.size)
    found = emulated(objective, buffers, spaces, weights, counts)
    losses, by_spaces = kernels_of("torch").gradients_(objective, buffers, spaces, weights, counts)
    expected = [losses, buffers.gradients, *by_spaces.projections, by_spaces.translations]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
