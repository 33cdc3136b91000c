"""Graph construction against PyTorch-BigGraph's own importer, on the same TSV.

    make bench-import

Both are timed as whole processes from exec to exit, in turn: PBG's once a round, ours, which is over in a moment, five
times. The first of those finds the machine as PBG's minutes left it (probably with memory given back to the host) and
takes longer; the ratio is that of the medians of all runs, and that of the first runs is printed beside it. Ours writes
what PBG's writes (counts, names, edges in buckets) and besides a portable hash for partitions, shuffled buckets,
statistics and the manifest.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from benchmarks.environment import save, surroundings, timed_process

RUNS = {"peer": 1, "ours": 5}  # in each round

PBG_CONFIG = """
def get_torchbiggraph_config():
    return dict(
        entity_path="{out}/entities", edge_paths=["{out}/edges"], checkpoint_path="{out}/model",
        entities={{"entity": {{"num_partitions": {partitions}}}}},
        relations=[{{"name": "link", "lhs": "entity", "rhs": "entity", "operator": "none"}}],
        dynamic_relations=False, dimension=4,
    )
"""


def write_tsv(path: Path, edges: int, entities: int) -> None:
    """Heads and tails with a heavy tail, one relation; every entity occurs."""
    generator = np.random.default_rng(0)
    rows = generator.zipf(1.3, (2, edges)) % entities
    rows[0, :entities] = generator.permutation(entities)[:edges]
    ids = pa.array([f"entity-{row}" for row in range(entities)])
    head, tail = (ids.take(pa.array(side)) for side in rows)
    relation = pa.array(["link"]).take(pa.array(np.zeros(edges, np.int64)))
    table = pa.table({"head": head, "relation": relation, "tail": tail})
    csv.write_csv(table, path, csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"))


def our_command(directory: Path, partitions: int) -> list[str]:
    side = {"type": "entity"}
    source = {"path": "edges.tsv", "columns": ["head", "relation", "tail"]}
    relation = {"name": "link", "source": "log", "lhs": {**side, "column": "head"}, "rhs": {**side, "column": "tail"}}
    graph = {"partitions": partitions, "write_names": True, "sources": {"log": source}, "entities": {"entity": {}}}
    config = {"graph": {**graph, "relations": [relation]}, "model": {"operator": "transr"}}
    (directory / "ours.json").write_text(json.dumps(config))
    transra = str(Path(sys.executable).with_name("transra"))
    place = ["--root", str(directory), "--workspace", str(directory / "ours"), "--quiet"]
    return [transra, "partition", str(directory / "ours.json"), *place]


def peer_command(directory: Path, partitions: int) -> list[str]:
    config = directory / "peer.py"
    config.write_text(PBG_CONFIG.format(out=directory / "peer", partitions=partitions))
    columns = ["--lhs-col=0", "--rel-col=1", "--rhs-col=2"]
    importer = "torchbiggraph.converters.import_from_tsv"
    return [sys.executable, "-W", "ignore", "-m", importer, *columns, str(config), str(directory / "edges.tsv")]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--edges", type=int, default=2_000_000)
    arguments.add_argument("--entities", type=int, default=1_100_000)
    arguments.add_argument("--partitions", type=int, default=4)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-import-") as name:
        directory = Path(name)
        write_tsv(directory / "edges.tsv", options.edges, options.entities)
        seconds: dict[str, list[float]] = {side: [] for side in RUNS}
        peaks = dict.fromkeys(seconds, 0)
        commands = {
            "ours": our_command(directory, options.partitions),
            "peer": peer_command(directory, options.partitions),
        }
        for side in (side for _ in range(options.rounds) for side, runs in RUNS.items() for _ in range(runs)):
            shutil.rmtree(directory / side, ignore_errors=True)
            took, peak = timed_process(commands[side], directory)
            seconds[side].append(took)
            peaks[side] = max(peaks[side], peak)
            print(f"{side}: {took:.2f} s, {options.edges / took:,.0f} edges/s, peak {peak >> 20} MiB", flush=True)
    medians = {side: statistics.median(times) for side, times in seconds.items()}
    first = statistics.median(seconds["ours"][:: RUNS["ours"]])
    result = {
        "ratio": medians["peer"] / medians["ours"],
        "ratio_of_first_runs": medians["peer"] / first,
        "ours": {"seconds": seconds["ours"], "median": medians["ours"], "peak_bytes": peaks["ours"]},
        "peer": {"seconds": seconds["peer"], "median": medians["peer"], "peak_bytes": peaks["peer"]},
        "sizes": {"edges": options.edges, "entities": options.entities, "partitions": options.partitions},
        "protocol": "whole processes from exec to exit, peer once and ours five times a round, medians; same TSV; "
        "names written by both",
        **surroundings(["torchbiggraph", "duckdb", "pyarrow", "torch"]),
    }
    print("{machine}: ours is {ratio:.0f} times as fast, {ratio_of_first_runs:.0f} right after PBG's".format(**result))
    save("import", result)


if __name__ == "__main__":
    main()
