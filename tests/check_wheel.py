"""What someone without a checkout gets: builds an sdist and two wheels of it, with and without a C++ compiler, installs
them one after the other into an empty virtual environment, and goes the whole path elsewhere.

    make check-wheel                      with another interpreter: PYTHON=python3.12

About two minutes, most of them for torch. Needs nothing but the standard library; not collected by pytest.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = ("artifacts", "demo_world", "partitioning", "pbg_transra", "pipeline", "ranker")
KERNELS = ("pbg_transra/backends/fused/", "ranker/kernels/")
NO_COMPILER = {"CC": "/bin/false", "CXX": "/bin/false"}
COMPILERS = ("c++", "g++", "clang++")
CONFIG = """// A config of someone who has no checkout: paths start where the command is given.
{
  graph: {
    partitions: 2,
    sources: {
      engagements: { path: "world/engagements/*.parquet", time_column: "ts", time_unit: "s" },
      pins: { path: "world/pins.parquet" },
    },
    entities: { user: {}, pin: {}, advertiser: {} },
    relations: [
      { name: "click", source: "engagements", where: "action = 'click'",
        lhs: { type: "user", column: "user_id" }, rhs: { type: "pin", column: "pin_id" } },
      { name: "pin_advertiser", source: "pins", domain: "side",
        lhs: { type: "pin", column: "pin_id" }, rhs: { type: "advertiser", column: "advertiser_id" } },
    ],
    split: { random: { valid: 0.05, test: 0.05 } },
  },
  model: { anchors: ["click"], dimension: 16, epochs: 2, workers: 1 },
}
"""
FIRST_PIN = """
import sys
from pathlib import Path
from artifacts.embeddings import Embeddings
print(Embeddings(Path(sys.argv[1])).frame("pin").index[0])
"""
POSSIBLE_LEVELS = """
from pbg_transra.backends.fused.levels import possible_levels
print(*possible_levels())
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="transra-wheel-") as temporary:
        work = Path(temporary).resolve()
        python = environment(work / "venv")
        sdist = build_sdist(python, copy_of_checkout(work / "source"), work)
        compiled = any(map(shutil.which, COMPILERS))
        wheel = build_wheel(python, sdist, work / "compiled", {})
        twin = build_wheel(python, sdist, work / "uncompiled", NO_COMPILER)
        check_contents(wheel, with_kernels=compiled)
        check_contents(twin, with_kernels=False)
        run(python, "-m", "pip", "install", "--quiet", *constraints(), str(wheel))
        whole_path(python, work / "elsewhere", with_kernels=compiled)
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", str(twin))
        whole_path(python, work / "elsewhere_without_kernels", with_kernels=False)
    print(f"check-wheel: {wheel.name} runs outside of a checkout, with kernels ({compiled}) and without")


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Runs a command that has nothing of the checkout in its environment; returns what it printed."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**clean, **environment}, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"check-wheel: exit {done.returncode} of {' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def require(holds: bool, text: str) -> None:
    if not holds:
        sys.exit(f"check-wheel: {text}")


def constraints() -> Sequence[str]:
    return "--constraint", str(CHECKOUT / "constraints.txt")


def environment(directory: Path) -> Path:
    """An empty virtual environment but for torch, which comes first and alone: see the Makefile."""
    run(sys.executable, "-m", "venv", directory)
    python = directory / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *constraints(), "torch", "setuptools")
    return python


def copy_of_checkout(directory: Path) -> Path:
    """The tracked files and new ones, but nothing that an earlier build left: setuptools would take it up."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=CHECKOUT)
    for name in filter(None, listed.split("\0")):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, directory / name)
    return directory


def build_sdist(python: Path, source: Path, destination: Path) -> Path:
    """The sdist, made by the hook that build tools call; it must hold the sources of the kernels."""
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(python, "-c", code, destination, cwd=source)
    (sdist,) = destination.glob("transra-*.tar.gz")
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    found = [path for place in (*KERNELS, "artifacts/kernels/") for path in (source / place).glob("*.[ch]pp")]
    sources = {str(path.relative_to(source)) for path in found}
    missing = (sources | {"LICENSE", "README.md", "CHANGELOG.md"} | typed()) - names
    require(len(sources) > len(KERNELS) and not missing, f"{sdist.name} lacks {', '.join(sorted(missing))}")
    return sdist


def build_wheel(python: Path, sdist: Path, destination: Path, variables: dict[str, str]) -> Path:
    run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", destination, sdist, **variables)
    (wheel,) = destination.glob("transra-*.whl")
    return wheel


def typed() -> set[str]:
    return {f"{package}/py.typed" for package in PACKAGES}


def check_contents(wheel: Path, with_kernels: bool) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    kernels = {name.split(".")[0] for name in names if name.startswith(KERNELS) and name.endswith(".so")}
    x86 = {"avx2", "avx512"} if platform.machine() == "x86_64" else set()
    levels = {"baseline"} | x86 if with_kernels else set()
    expected = {f"{directory}_kernels_{level}" for directory in KERNELS for level in levels}
    require(kernels == expected, f"{wheel}: kernels are {sorted(kernels)}, expected {sorted(expected)}")
    require(typed() <= set(names), f"{wheel}: lacks {', '.join(sorted(typed() - set(names)))}")
    require(any(name.endswith("/LICENSE") for name in names), f"{wheel}: has no LICENSE")
    foreign = sorted(foreign_names(names))
    require(not foreign, f"{wheel}: holds {', '.join(foreign)}, expected packages only")


def foreign_names(names: Iterable[str]) -> set[str]:
    return {name.split("/")[0] for name in names if not name.startswith("transra-")} - set(PACKAGES)


def whole_path(python: Path, directory: Path, with_kernels: bool) -> None:
    """From nothing to neighbours in a directory of its own, with the `transra` of the environment."""
    directory.mkdir()
    transra = python.with_name("transra")
    (directory / "small.json").write_text(CONFIG)
    found = run(python, "-c", POSSIBLE_LEVELS, cwd=directory).split()
    require(("baseline" in found) == with_kernels, f"training can run on {found}, with kernels: {with_kernels}")
    run(transra, "demo-data", "world", "--users", "400", "--impressions", "20000", "--days", "10", cwd=directory)
    schema = json.loads(run(transra, "config", "schema", cwd=directory))
    require("graph" in schema["properties"], "`transra config schema` printed another schema")
    run(transra, "run", "small.json", cwd=directory)
    export = directory / "runs" / "small" / "latest" / "export" / "embeddings.h5"
    require(export.is_file(), f"no export at {export}")
    pin = run(python, "-c", FIRST_PIN, export, cwd=directory).strip()
    answer = json.loads(run(transra, "neighbors", "small.json", "pin", pin, "--k", "3", "--json", cwd=directory))
    require(len(answer["neighbors"]) == 3, f"`transra neighbors` printed {answer}")


if __name__ == "__main__":
    main()
