"""Compiles the fused kernels where there is a compiler; without one, training runs on their torch twin."""

from pathlib import Path

from setuptools import Extension, setup

# No fast-math: NaN must pass through. What is left out (errno, traps) keeps loops from being vectorised.
FLAGS = ["-O3", "-std=c++17", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]

setup(
    ext_modules=[
        Extension(
            "pbg_transra.backends.fused._kernels",
            ["pbg_transra/backends/fused/kernels.cpp"],
            depends=[str(path) for path in Path("pbg_transra/backends/fused").glob("*.hpp")],
            extra_compile_args=FLAGS,
            optional=True,
        )
    ]
)
