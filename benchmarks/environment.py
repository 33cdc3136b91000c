"""What every benchmark prints and stores beside its numbers: machine, versions, date."""

import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from artifacts.machine.resources import Meter, cpu_count

REPOSITORY = Path(__file__).resolve().parents[1]
OUT = REPOSITORY / "benchmarks" / "out"


def machine() -> str:
    """Processor, cores and memory in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    memory = psutil.virtual_memory().total / (1 << 30)
    return f"{names[0] if names else platform.machine()}, {cpu_count()} cores, {memory:.0f} GiB"


def surroundings(packages: Sequence[str]) -> dict[str, Any]:
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    return {"machine": machine(), "versions": versions, "date": datetime.now(timezone.utc).date().isoformat()}


def timed_process(command: Sequence[str], cwd: Path) -> tuple[float, int]:
    """Seconds from exec to exit and peak memory (bytes, whole process tree) of a command. Raises when it fails.

    What earlier commands left for the disk to write is written first: a command that syncs would wait for it.
    """
    os.sync()
    # What is installed is compiled; a checkout must be allowed to be.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = psutil.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with Meter(process) as meter:
        said = process.communicate()[1]
        seconds = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {process.returncode}: {said[-2000:]}")
    return seconds, meter.peak_bytes


def timed(command: Sequence[str], cwd: Path) -> dict[str, float]:
    """Seconds, seconds of processor time (which other jobs lengthen far less) and peak memory of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, peak = timed_process(command, cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak}


def save(name: str, result: dict[str, Any]) -> None:
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {OUT / name}.json")
