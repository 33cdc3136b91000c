"""Several processes that train one ranker beside one: examples/s, processor time, memory; each is on one core.

    make bench-rank-processes
    make bench-rank-processes ARGS='--arms id_only --table-rows 16000000 --rounds 1'

The log and its vectors are drawn at random (`bench_rank_memory`); it is encoded once, before anything is measured. A
step has 2048 impressions however many processes share them, so all train the same model. Every process is a whole
`python -m ranker` in a network namespace with an address of its own, joined by a bridge (over loopback where none can
be made), bound to one core (`taskset`; where there are fewer cores than processes, they share them). Sides take turns;
figures are medians over the rounds. `examples/s` are those of the training, its one validation included. Where other
jobs run, too, the clock says little: a busy second is one of processor time of the busiest process, and processor s are
those of all; both without what the same command takes again when nothing is left to train. MB are the peak of the
largest process, mapped files aside, and its tables with their sums.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from artifacts.machine.resources import cpu_count
from benchmarks.environment import REPOSITORY, save, surroundings
from benchmarks.ranking.bench_rank_memory import config, write_log, write_run

BATCH, ENTITIES, DIM, PORT = 2048, 100_000, 16, 29_577
BRIDGE, PREFIX, NETWORK = "transra-bench", "transra-bench-", "10.78.0."
LOOPBACK = "127.0.0.1"

Side = tuple[str, int]  # an arm, and how many processes train it


class Took(NamedTuple):
    processor_seconds: float
    peak_bytes: int  # without mapped files


@contextmanager
def namespaces(count: int) -> Iterator[bool]:
    """As many network namespaces on one bridge, with the addresses NETWORK + 1, ...; whether they could be made."""
    names = [f"{PREFIX}{number}" for number in range(count)]
    try:
        _ip("link", "add", BRIDGE, "type", "bridge")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no network namespaces here ({error}): over loopback")
        yield False
        return
    try:
        _ip("link", "set", BRIDGE, "up")
        for number, name in enumerate(names, 1):
            card = f"trb-{number}"
            _ip("netns", "add", name)
            _ip("link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", card, "master", BRIDGE, "up")
            _ip("-n", name, "addr", "add", f"{NETWORK}{number}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                _ip("-n", name, "link", "set", device, "up")
        yield True
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def settings(arm: str, count: int, table_rows: int) -> dict[str, Any]:
    """One epoch of all rows, with one validation at its end."""
    training = {"batch_size": BATCH // count, "eval_every": 1 << 30}
    return {**config(arm), "ids": {"rows": table_rows, "dim": DIM}, "training": training, "threads": 1, "bootstrap": 20}


def ranked(root: Path, side: Side, table_rows: int, addresses: bool) -> list[Took]:
    """Ranks into root/out; returns what each process took."""
    arm, count = side
    (root / "config.json").write_text(json.dumps({"ranker": settings(arm, count, table_rows)}))
    command = [sys.executable, "-m", "ranker", str(root / "config.json"), "--root", str(root)]
    address, started = f"{NETWORK}1" if addresses else LOOPBACK, []
    for place in range(count):
        around = ["ip", "netns", "exec", f"{PREFIX}{place}"] if addresses else []
        around += ["taskset", "-c", str(place % cpu_count())]
        launched = {"RANK": place, "WORLD_SIZE": count, "MASTER_ADDR": address, "MASTER_PORT": PORT}
        of_many = {name: str(value) for name, value in launched.items()} if count > 1 else {}
        started.append(
            subprocess.Popen(
                [*around, *command, "--vectors", "run", "--out", str(root / "out")],
                cwd=REPOSITORY,
                env={**os.environ, **of_many, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL,
            )
        )
    return ended([process.pid for process in started])


def ended(processes: Sequence[int]) -> list[Took]:
    """What each process took, once all have ended."""
    peaks, took = dict.fromkeys(processes, 0), dict[int, Took]()
    while len(took) < len(processes):
        for pid in peaks.keys() - took.keys():
            peaks[pid] = max(peaks[pid], anonymous(pid))
            found, status, usage = os.wait4(pid, os.WNOHANG)
            if found and status:
                raise SystemExit("a process failed")
            if found:
                took[pid] = Took(usage.ru_utime + usage.ru_stime, peaks[pid])
        time.sleep(0.02)
    return [took[pid] for pid in processes]


def anonymous(pid: int) -> int:
    """Bytes that a process holds now, without files that it has mapped."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def measure(root: Path, side: Side, table_rows: int, addresses: bool) -> dict[str, float]:
    """One training from the beginning."""
    arm, count = side
    shutil.rmtree(root / "out/arms", ignore_errors=True)
    began = time.perf_counter()
    took = ranked(root, side, table_rows, addresses)
    seconds = time.perf_counter() - began
    again = ranked(root, side, table_rows, addresses)  # trains nothing
    busy = [one.processor_seconds - idle.processor_seconds for one, idle in zip(took, again, strict=True)]
    (record,) = (root / "out/arms" / arm).glob("*/seed-0/training.json")
    training = json.loads(record.read_text())
    rows = json.loads((root / "out/report.json").read_text())["rows"]["train"]["rows"]
    numbers = training["parameters"]
    held = numbers["ids"] // DIM * (DIM + 1) + numbers["kge"] // 64 * 65
    return {
        "examples_per_second": rows / training["seconds"],
        "seconds": seconds,
        "examples_per_busy_second": rows / max(busy),
        "cpu_seconds": sum(busy),
        "peak_megabytes": max(one.peak_bytes for one in took) / 1e6,
        "table_megabytes": 4 * held / count / 1e6,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=300_000, help="impressions")
    arguments.add_argument("--arms", nargs="+", default=["id_only", "attention", "init_finetune"])
    arguments.add_argument("--table-rows", type=int, default=1 << 18, help="rows of the ID table")
    arguments.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--scratch", type=Path, help="where log, records and weights are written and removed")
    arguments.add_argument("--name", default="rank_processes", help="of the JSON file in benchmarks/out")
    options = arguments.parse_args()
    sides = [(arm, count) for arm in options.arms for count in options.processes]
    with (
        tempfile.TemporaryDirectory(prefix="bench-rank-processes-", dir=options.scratch) as name,
        namespaces(max(options.processes)) as addresses,
    ):
        root = Path(name)
        write_log(root / "log.parquet", options.rows, ENTITIES)
        write_run(root / "run", ENTITIES)
        (root / "out").mkdir()
        ranked(root, (options.arms[0], 1), 2, addresses)  # encodes the log
        found: dict[Side, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(options.rounds):
            for side in sides:
                found[side].append(measure(root, side, options.table_rows, addresses))
                print(*side, {key: round(value, 1) for key, value in found[side][-1].items()}, flush=True)
    medians = {
        side: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for side, rounds in found.items()
    }
    print(table(medians))
    save(
        options.name,
        {
            "medians": {f"{arm} {count}": row for (arm, count), row in medians.items()},
            "rounds": {f"{arm} {count}": rows for (arm, count), rows in found.items()},
            "load": psutil.getloadavg(),
            "protocol": f"{options.rows:,} impressions, {BATCH} a step, a table of {options.table_rows:,} x {DIM}, "
            + ("network namespaces" if addresses else "loopback"),
            **surroundings(["torch"]),
        },
    )


def table(medians: dict[Side, dict[str, float]]) -> str:
    """A row for an arm and a number of processes."""
    lines = [
        "| arm | processes | examples/s | examples a busy second | times one | processor s | peak MB | MB of tables |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (arm, count), row in medians.items():
        first = medians[next(side for side in medians if side[0] == arm)]
        busy = row["examples_per_busy_second"]
        lines.append(
            f"| {arm} | {count} | {row['examples_per_second']:,.0f} | {busy:,.0f} "
            f"| {busy / first['examples_per_busy_second']:.2f} | {row['cpu_seconds']:.1f} "
            f"| {row['peak_megabytes']:.0f} | {row['table_megabytes']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
