"""Where relative paths start: at the checkout that the code runs from, or else at the current directory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = ("artifacts", "demo_world", "partitioning", "pbg_transra", "pipeline", "ranker")
CONFIG = """{
  graph: {
    sources: { log: { path: "no-such-log.parquet" } },
    entities: { user: {}, ad: {} },
    relations: [
      { name: "click", source: "log", lhs: { type: "user", column: "u" }, rhs: { type: "ad", column: "a" } },
    ],
  },
  model: { anchors: ["click"] },
}"""


def transra(code: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line of the packages in `code`, wherever others are installed."""
    environment = {**os.environ, "PYTHONPATH": str(code), "COLUMNS": "200"}
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def looked_in(code: Path, cwd: Path, *options: str) -> str:
    """The directory in which `partition` looked for a log that is nowhere."""
    (cwd / "config.json").write_text(CONFIG)
    run = transra(code, cwd, "partition", "config.json", "--dry-run", *options)
    assert run.returncode == 65, run.stderr
    return run.stderr.partition("(looked in ")[2].rstrip(")\n")


def installed(directory: Path) -> Path:
    """The packages as a wheel lays them, with nothing of a checkout beside them."""
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, directory / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    return directory


def test_a_checkout_is_the_root_wherever_one_stands(tmp_path: Path) -> None:
    assert looked_in(REPOSITORY, tmp_path) == str(REPOSITORY)
    assert looked_in(REPOSITORY, tmp_path, "--root", ".") == str(tmp_path)


def test_without_a_checkout_the_root_is_where_one_stands(tmp_path: Path) -> None:
    code, here = installed(tmp_path / "site"), tmp_path / "here"
    here.mkdir()
    assert looked_in(code, here) == str(here)
    assert looked_in(code, here, "--root", str(tmp_path)) == str(tmp_path)


def test_help_says_so(tmp_path: Path) -> None:
    text = " ".join(transra(REPOSITORY, tmp_path, "run", "--help").stdout.split())
    assert "default: the checkout that this code runs from, or where there is none the current directory" in text
