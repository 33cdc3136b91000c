"""The memory that a process may still have, by cgroups of both versions and by `ulimit -v`."""

import multiprocessing
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from artifacts.machine import memory_limits
from artifacts.machine.memory_limits import bytes_left
from artifacts.machine.resources import available_memory, tree_memory


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory_limits, "PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(memory_limits, "CGROUPS", tmp_path)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return tmp_path


def group(directory: Path, **values: object) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (directory / f"memory.{name}").write_text(f"{value}\n")


def test_the_tightest_group_above_us_counts(cgroups: Path) -> None:
    (cgroups / "cgroup").write_text("0::/system.slice/night.service\n")
    group(cgroups / "system.slice", max=1000, current=900, stat="anon 5\ninactive_file 300")
    group(cgroups / "system.slice/night.service", max="max", current=800)
    assert bytes_left() == available_memory() == 400
    group(cgroups / "system.slice/night.service", max=850, current=800)
    assert bytes_left() == 50


def test_version_1_and_a_container_that_sees_its_own_root_alone(cgroups: Path) -> None:
    (cgroups / "cgroup").write_text("12:cpu,cpuacct:/\n4:memory:/docker/0123\n1:name=systemd:/x:y\n0::/\n")
    group(cgroups / "memory", limit_in_bytes=500, usage_in_bytes=600, stat="total_inactive_file 40")
    assert bytes_left() == 0


def test_no_limit(cgroups: Path) -> None:
    assert bytes_left() is None, "where there are no cgroups at all"
    (cgroups / "cgroup").write_text("0::/\n")
    assert bytes_left() is None and available_memory() > 1 << 20


def test_ulimit() -> None:
    script = "import artifacts.machine.resources as r; print(r.available_memory())"
    command = f"ulimit -v 2000000; exec {sys.executable} -c '{script}'"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert 0 < int(found.stdout) < 2_000_000 * 1024


def test_what_processes_share_is_counted_once_and_what_they_write_is_not() -> None:
    held, context = np.ones(25_000_000), multiprocessing.get_context("fork")
    alone = tree_memory()
    assert alone >= held.nbytes
    ours, theirs = context.Pipe()

    def shares_then_copies() -> None:
        for values in ("shares", "copies"):
            theirs.send(values)
            theirs.recv()
            held[:] = 2.0
        theirs.send("copied")
        theirs.recv()

    process = context.Process(target=shares_then_copies)
    process.start()
    try:
        assert ours.recv() == "shares"
        shared = tree_memory()
        for _ in range(2):
            ours.send("on")
            ours.recv()
        copied = tree_memory()
    finally:
        process.kill()
        process.join()
    assert shared < alone + 0.5 * held.nbytes
    assert 0.7 * held.nbytes < copied - shared < 1.5 * held.nbytes
