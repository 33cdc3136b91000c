"""Graph construction against PyTorch-BigGraph's own importer and against the floor of raw DuckDB, on the same TSV.

    make bench-import

Both are timed as whole processes from exec to exit, in turn: PBG's once a round, ours, which is over in a moment, five
times. The first of those finds the machine as PBG's minutes left it (probably with memory given back to the host) and
takes longer; the ratio is that of the medians of all runs, and that of the first runs is printed beside it. Ours writes
what PBG's writes (counts, names, edges in buckets) and besides a portable hash for partitions, shuffled buckets,
statistics and the manifest. The floor (`import_floor.py`) runs after each of ours. Ratios of processor time stand
beside those of seconds, since other jobs lengthen them less.
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

from benchmarks.environment import REPOSITORY, save, surroundings, timed

ORDER = ("peer", *("ours", "floor") * 5)  # in each round

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
    place = ["--root", str(directory), "--workspace", str(directory / "ours"), "--quiet"]
    return [sys.executable, "-m", "pipeline.cli", "partition", str(directory / "ours.json"), *place]


def peer_command(directory: Path, partitions: int) -> list[str]:
    config = directory / "peer.py"
    config.write_text(PBG_CONFIG.format(out=directory / "peer", partitions=partitions))
    columns = ["--lhs-col=0", "--rel-col=1", "--rhs-col=2"]
    importer = "torchbiggraph.converters.import_from_tsv"
    return [sys.executable, "-W", "ignore", "-m", importer, *columns, str(config), str(directory / "edges.tsv")]


def floor_command(directory: Path, partitions: int) -> list[str]:
    files = [str(directory / "edges.tsv"), str(directory / "floor")]
    return [sys.executable, "-m", "benchmarks.graph.import_floor", *files, "--partitions", str(partitions)]


def ratio(runs: dict[str, list[dict[str, float]]], side: str, other: str, key: str = "seconds") -> float:
    """Of the medians of two sides."""
    return statistics.median(run[key] for run in runs[side]) / statistics.median(run[key] for run in runs[other])


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
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in ORDER}
        commands = {
            "ours": our_command(directory, options.partitions),
            "peer": peer_command(directory, options.partitions),
            "floor": floor_command(directory, options.partitions),
        }
        for side in (side for _ in range(options.rounds) for side in ORDER):
            shutil.rmtree(directory / side, ignore_errors=True)
            if side == "floor":
                (directory / side).mkdir()
            runs[side].append(took := timed(commands[side], REPOSITORY))
            print(
                "{}: {seconds:.2f} s, {cpu_seconds:.2f} s of processor".format(side, **took),
                f"peak {int(took['peak_bytes']) >> 20} MiB",
                sep=", ",
                flush=True,
            )
    first = statistics.median(run["seconds"] for run in runs["ours"][:: ORDER.count("ours")])
    result = {
        "ratio": ratio(runs, "peer", "ours"),
        "ratio_of_first_runs": statistics.median(run["seconds"] for run in runs["peer"]) / first,
        "floor_ratio": ratio(runs, "ours", "floor"),
        "cpu_ratio": ratio(runs, "peer", "ours", "cpu_seconds"),
        "floor_cpu_ratio": ratio(runs, "ours", "floor", "cpu_seconds"),
        "level": "duckdb and numpy",  # no kernels of ours
        "runs": runs,
        "sizes": {"edges": options.edges, "entities": options.entities, "partitions": options.partitions},
        "protocol": "whole processes from exec to exit, peer once, ours and the floor five times a round, medians; "
        "same TSV; names written by ours and the peer",
        **surroundings(["torchbiggraph", "duckdb", "pyarrow", "torch"]),
    }
    print(
        "{machine}: ours is {ratio:.0f} times as fast, {ratio_of_first_runs:.0f} right after PBG's; it takes "
        "{floor_ratio:.2f} times the floor's seconds, {floor_cpu_ratio:.2f} of its processor time".format(**result)
    )
    save("import", result)


if __name__ == "__main__":
    main()
