"""How much memory the limits leave: of our cgroups (a container, systemd's MemoryMax=) and of `ulimit -v`."""

import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

PROCESS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")
# Controllers that /proc/self/cgroup names, where they lie, and their files: limit, in use.
VERSIONS = {
    "": (".", "memory.max", "memory.current"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
}
CACHES = ("inactive_file", "total_inactive_file")  # counts as used, and goes when memory is asked for


def bytes_left() -> int | None:
    """Bytes that the tightest of the limits leaves, at least 0; None where there is none."""
    return min((max(0, left) for left in [*_of_cgroups(), *_of_addresses()]), default=None)


def _of_cgroups() -> Iterator[int]:
    """What every group from ours up to the root leaves."""
    if not PROCESS.exists():
        return
    for line in PROCESS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in {"" if not controllers else "memory"} & {*controllers.split(",")}:
            place, limit, used = VERSIONS[controller]
            group = PurePosixPath(path.lstrip("/"))
            for each in (group, *group.parents):  # the last is the root, which is all that a container may see
                yield from _of_group(CGROUPS / place / each, limit, used)


def _of_group(directory: Path, limit: str, used: str) -> Iterator[int]:
    if not (directory / limit).exists() or not (bound := (directory / limit).read_text().strip()).isdigit():
        return  # "max"
    cached = [int(line.split()[1]) for line in _lines(directory / "memory.stat") if line.split()[0] in CACHES]
    yield int(bound) - int((directory / used).read_text()) + max(cached, default=0)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _of_addresses() -> Iterator[int]:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield limit - int(psutil.Process().memory_info().vms)
