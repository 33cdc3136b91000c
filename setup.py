"""Compiles the kernels where there is a compiler; without one, training runs on their torch twins."""

import os
import platform
from pathlib import Path

from setuptools import Extension, setup

KERNELS = (Path("pbg_transra/backends/fused"), Path("ranker/kernels"))
SHARED = Path("artifacts/kernels")  # what both include
# No fast-math: NaN must pass through. What is left out (errno, traps) keeps loops from being vectorised. Symbols for a
# debugger (Python's own flags ask for them) would be a quarter of the time and two thirds of the file.
FLAGS = ["-O3", "-g0", "-std=c++17", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
# A copy per instruction set, and levels.py picks one, so that a wheel runs on any processor of its kind.
LEVELS = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    LEVELS |= {"avx2": ["-mavx2", "-mfma"], "avx512": ["-mavx512f", "-mfma"]}


def kernels(directory: Path, level: str, flags: list[str]) -> Extension:
    return Extension(
        f"{'.'.join(directory.parts)}._kernels_{level}",
        [str(directory / "kernels.cpp")],
        include_dirs=[str(SHARED)],
        depends=[str(path) for place in (directory, SHARED) for path in place.glob("*.hpp")],
        extra_compile_args=[*FLAGS, *flags],
        optional=True,
    )


setup(
    ext_modules=[kernels(directory, level, flags) for directory in KERNELS for level, flags in LEVELS.items()],
    options={"build_ext": {"parallel": os.cpu_count()}},
)
