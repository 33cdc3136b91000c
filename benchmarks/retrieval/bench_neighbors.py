"""Neighbours in an export of many entities: opening it, asking its index and by a scan, and what the index finds.

    python -m benchmarks.retrieval.bench_neighbors --entities 1000000 --dimension 128

Vectors lie around centres, a hundred entities each, as those of a training do; random ones have no neighbours to find.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artifacts.embeddings import Embeddings, EmbeddingsWriter
from benchmarks.environment import surroundings
from pbg_transra.export.indexes import write_indexes

BLOCK = 1 << 16
QUERIES = 200


def write_export(path: Path, entities: int, dimension: int) -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(max(1, entities // 100), dimension)).astype(np.float32)
    attributes = {
        **{"operator": "transra", "dimension": dimension, "scale": 1.0, "anchors": [], "bias_against": []},
        **{"config_hash": "", "run_id": "", "similarity": "cos", "metrics": {}},
    }
    with EmbeddingsWriter(path, attributes) as writer:
        table = writer.entities("ad", entities, sum(len(str(row)) for row in range(entities)), "float32")
        for start in range(0, entities, BLOCK):
            rows = range(start, min(start + BLOCK, entities))
            noise = random.normal(size=(len(rows), dimension)).astype(np.float32)
            vectors = centres[random.integers(0, len(centres), len(rows))] + 0.7 * noise
            table.append(pa.array(map(str, rows), pa.large_string()), vectors)
        table.finish()


def seconds(action: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=128)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="transra-neighbors-", dir="/var/tmp") as directory:
        path = Path(directory) / "embeddings.h5"
        write_export(path, options.entities, options.dimension)
        built = seconds(lambda: write_indexes(Path(directory), lambda step, done: None))
        opened = seconds(lambda: Embeddings(path).index("ad"))
        export = Embeddings(path)
        ids = [str(row) for row in np.random.default_rng(2).choice(options.entities, QUERIES, replace=False)]
        export.neighbors("ad", ids[:1])
        one_by_one = [seconds(partial(export.neighbors, "ad", [id])) for id in ids]
        exact = [seconds(partial(export.neighbors, "ad", [id], exact=True)) for id in ids[:10]]
        near, true = (export.neighbors("ad", ids, exact=how) for how in (False, True))
        recall = np.mean([len({*map(first, a)} & {*map(first, b)}) / 10 for a, b in zip(near, true, strict=True)])
    print(surroundings(["faiss-cpu", "numpy"]))
    print(f"{options.entities:,} x {options.dimension}: index built in {built:.0f} s, opened in {opened:.3f} s")
    middle, late = np.percentile(one_by_one, [50, 99]) * 1000
    print(
        f"a query {middle:.2f} ms (99 %: {late:.2f} ms), exact {np.median(exact) * 1000:.0f} ms, recall@10 {recall:.3f}"
    )


def first(neighbor: Any) -> str:
    return str(neighbor.id)


if __name__ == "__main__":
    main()
