"""The rail of a change that must not change results: digests of what three runs make, compared with an earlier state's.

    make byte-rail                                             digests of this state of the code
    python -m benchmarks.byte_rail --checkout ../before        digests of another checkout's
    make byte-rail ARGS="--against benchmarks/out/byte_rail_before.json"

Runs `configs/demo.json`, `configs/fb15k237.json` (where its data is there) and two nights of an append-only log, each
with one worker and one epoch, and takes digests of every file of the graph, of every array of the checkpoint and of
every array of the export. Names of runs, paths and seconds lie in attributes of the files, so those are left out.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.environment import REPOSITORY, save, surroundings
from pipeline.workspace.workspace import Workspace

SHARED = REPOSITORY.parent / "shared"
DAY = 86_400
QUICK = ("model.workers=1", "model.epochs=1")
NAMES_OF_A_RUN = ("run_id", "metrics", "config_hash", "config/json")  # attributes, and PBG's dataset of its config


def transra(checkout: Path, *words: str) -> None:
    """One command of a checkout. Raises CalledProcessError when it fails."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "pipeline.cli", *words], check=True, cwd=checkout, env=environment)


def write_day(directory: Path, day: int) -> None:
    generator, count = np.random.default_rng(day), 20_000
    columns = {
        "user": generator.integers(0, 2_000, count),
        "item": generator.zipf(1.3, count) % 3_000,
        "spent": generator.integers(1, 9, count),
        "ts": np.sort(generator.integers(day * DAY, (day + 1) * DAY, count)),
    }
    path = directory / f"day-{day:02}.parquet"
    pq.write_table(pa.table(columns), path)
    os.utime(path, (day * DAY, day * DAY))  # the ledger keeps it


def append_only_config(directory: Path, last_day: int) -> Path:
    sides = {"lhs": {"type": "user", "column": "user"}, "rhs": {"type": "item", "column": "item"}}
    graph = {
        "partitions": 2,
        "sources": {"log": {"path": "log", "time_column": "ts", "time_unit": "s", "append_only": True}},
        "entities": {"user": {}, "item": {}},
        "relations": [{"name": "buy", "source": "log", "weight": "spent", **sides}],
        "split": {"time": {"valid_from": (last_day - 1) * DAY, "test_from": last_day * DAY}},
    }
    path = directory / "append.json"
    path.write_text(json.dumps({"graph": graph, "model": {"anchors": ["buy"], "dimension": 16}}))
    return path


def digests_of_run(run: Path) -> dict[str, str]:
    """By path below the run: bytes of plain files, shape, type and content of every array of HDF5 files."""
    found: dict[str, str] = {}
    for path in sorted(path for stage in ("graph", "model", "export") for path in (run / stage).rglob("*")):
        name = str(path.relative_to(run))
        if path.suffix == ".h5":
            found |= {f"{name}:{key}": digest for key, digest in arrays_of(path).items()}
        elif path.is_file() and path.name not in ("stage.json", "config.json"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def arrays_of(path: Path) -> dict[str, str]:
    """Digests of the arrays and attributes of an HDF5 file, but for names of a run."""
    found: dict[str, str] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and name not in NAMES_OF_A_RUN:
            content = f"{node.shape} {node.dtype} ".encode() + np.asarray(node[()]).tobytes()
            found[name] = hashlib.sha256(content).hexdigest()
        for key, value in node.attrs.items():
            if key not in NAMES_OF_A_RUN:
                found[f"{name}@{key}"] = str(value)

    with h5py.File(path, "r") as file:
        visit("/", file)
        file.visititems(visit)
    return found


def rail(checkout: Path, scratch: Path) -> dict[str, dict[str, str]]:
    """Digests of the three runs, by name of the run."""
    found = {}
    quick = [word for value in QUICK for word in ("--set", value)]
    configs = [("demo", checkout / "configs/demo.json"), ("fb15k237", checkout / "configs/fb15k237.json")]
    transra(checkout, "demo-data", str(scratch / "data/demo"), "--quiet")
    for name, config in configs:
        root = scratch if name == "demo" else checkout
        if name == "fb15k237" and not SHARED.exists():
            print(f"{name} is left out: no data at {SHARED}")
            continue
        where = ["--root", str(root), "--workspace", str(scratch / name), "--quiet"]
        source = [] if name == "demo" else fb15k_sources()
        for stage in ("partition", "train", "export"):
            transra(checkout, stage, str(config), *where, *quick, *source)
        found[name] = digests_of_run(scratch / name / "latest")
    (scratch / "log").mkdir()
    for day in range(6):
        write_day(scratch / "log", day)
        if day >= 4:
            config = append_only_config(scratch, day)
            where = ["--root", str(scratch), "--workspace", str(scratch / "append"), "--quiet"]
            for stage in ("partition", "train", "export"):
                transra(checkout, stage, str(config), *where, *quick)
            found[f"append_only_day_{day}"] = digests_of_run(Workspace(scratch / "append").runs()[0].path)
    return found


def fb15k_sources() -> list[str]:
    """The data beside this checkout, wherever the other one lies."""
    directory = SHARED / "data/kge_fb15k237"
    return [
        word
        for split in ("train", "valid", "test")
        for word in ("--set", f'graph.sources.{split}.path="{directory / split}.tsv.gz"')
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--checkout", type=Path, default=REPOSITORY, help="whose code runs (this one's)")
    arguments.add_argument("--against", type=Path, help="an earlier result, to compare with")
    arguments.add_argument("--name", default="byte_rail", help="of the result below benchmarks/out")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="byte-rail-") as scratch:
        digests = rail(options.checkout.resolve(), Path(scratch))
    save(options.name, {"digests": digests, **surroundings(["torch", "duckdb", "pyarrow", "h5py", "numpy"])})
    if options.against:
        before = json.loads(options.against.read_text())["digests"]
        differing = [
            f"{run}: {name}"
            for run in sorted(before.keys() | digests.keys())
            for name in sorted(before.get(run, {}).keys() | digests.get(run, {}).keys())
            if before.get(run, {}).get(name) != digests.get(run, {}).get(name)
        ]
        print(f"{sum(map(len, digests.values()))} digests, {len(differing)} differ", *differing[:20], sep="\n")
        raise SystemExit(bool(differing))


if __name__ == "__main__":
    main()
