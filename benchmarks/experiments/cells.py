"""Trains, evaluates and ranks one cell of an experiment by real `transra` commands, within its budget.

A command dies with the harness, and what it had done stays in the cell's workspace: the next harness resumes it.
"""

import ctypes
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import DataError, TransraError
from artifacts.files.publish import write_json
from benchmarks.experiments.plan import ROOT, Training

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class OverBudget(Exception):
    """Raised when a cell has used up its minutes."""


class GivenUp(Exception):
    """Raised where a training diverges; its message is the command's own."""


class CommandFailed(TransraError):
    """Ends the harness with the command's exit code."""

    def __init__(self, line: str, exit_code: int) -> None:
        super().__init__(line)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Bench:
    """A directory in which one training is made; `deadline` by the monotonic clock."""

    directory: Path
    training: Training
    deadline: float

    def make(self, stages: list[str], *more: str) -> dict[str, Any]:
        """Brings the stages up to date, one after the other, and returns the metrics of the last one.

        Raises OverBudget, GivenUp and, for any other failure of a command, CommandFailed.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        write_json(self.directory / "cell.json", self.training.raw)
        found: dict[str, Any] = {}
        for stage in stages:
            found = self._command(stage, list(more) if stage == "rank" else [])["stages"][stage]["metrics"]
        return found

    def _command(self, stage: str, more: list[str]) -> dict[str, Any]:
        config, workspace = str(self.directory / "cell.json"), str(self.directory / "workspace")
        words = [stage, config, "--workspace", workspace, "--root", str(ROOT), "--json", *more]
        command = [sys.executable, "-m", "pipeline.cli", *words]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=_die_with_parent) as run:
            try:
                said = run.communicate(timeout=max(0.001, self.deadline - time.monotonic()))[0]
            except subprocess.TimeoutExpired:
                raise OverBudget from None
            finally:
                run.terminate()
        if run.returncode < 0:
            raise CommandFailed(f"transra {stage} was killed by signal {-run.returncode}", TransraError.exit_code)
        answer: dict[str, Any] = json.loads(said)
        if run.returncode == DataError.exit_code and any("diverged" in line for line in answer["errors"]):
            raise GivenUp("; ".join(answer["errors"]))
        if run.returncode:
            raise CommandFailed(f"transra {stage}: {'; '.join(answer['errors'])}", run.returncode)
        return answer


def _die_with_parent() -> None:
    """In the child: the kernel kills it when the harness ends, however that may be."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
