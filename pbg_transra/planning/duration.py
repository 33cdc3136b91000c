"""How long a training will take, from what was measured on this machine."""

from artifacts.formats.graph import Graph
from artifacts.machine.resources import cpu_count
from pbg_transra.config import ModelConfig
from pbg_transra.planning.calibration import Speed
from pbg_transra.seeds import seed_of
from pbg_transra.training.edge_files import EdgeFiles
from pbg_transra.training.residency import Key, needed, slots_of
from pbg_transra.training.schedule import bucket_order

FORK_START, SPAWN_START = 0.5, 4.0  # seconds: a spawned worker imports torch and PBG


def expected_seconds(
    graph: Graph, edges: EdgeFiles, config: ModelConfig, workers: int, speed: Speed, passes_done: int
) -> float:
    """Of the passes that are left, without validations: what is not hidden behind compute counts, too."""
    left = range(passes_done, config.passes)
    return start_seconds(config) + sum(pass_seconds(graph, edges, config, workers, speed, index) for index in left)


def start_seconds(config: ModelConfig) -> float:
    """Until the workers are there."""
    return FORK_START if config.fused else SPAWN_START


def pass_seconds(graph: Graph, edges: EdgeFiles, config: ModelConfig, workers: int, speed: Speed, index: int) -> float:
    """Bucket after bucket, and the checkpoint at the end."""
    resident: dict[Key, None] = {}
    total = 0.0
    for bucket in bucket_order(graph, edges, seed_of(config.seed, index)):
        keys, size = needed(graph, bucket), edges.size(bucket, index % edges.chunks)
        swapped = sum(vector_bytes(graph, config, key) for key in keys.keys() - resident.keys())
        files = swapped / speed.swapped + size * speed.seconds_per_edge_read
        total += together(size / speed.edges, files, config.overlap, workers)
        resident = keys
    checkpoints = 1 + int(total / config.checkpoint_seconds)
    trained = sum(
        max(t.counts) * slots_of(graph, t.name, config.overlap) * 4 * config.dimension for t in graph.entity_types
    )
    return total + checkpoints * trained / speed.synced


def pass_traffic(graph: Graph, edges: EdgeFiles, config: ModelConfig, index: int) -> int:
    """Bytes of vectors that come and go in a pass; on several machines they pass the file system that is shared."""
    resident: dict[Key, None] = {}
    total = 0
    for bucket in bucket_order(graph, edges, seed_of(config.seed, index)):
        keys = needed(graph, bucket)
        total += sum(vector_bytes(graph, config, key) for key in keys.keys() - resident.keys())
        resident = keys
    return 2 * total


def together(train: float, files: float, overlap: bool, workers: int) -> float:
    """Seconds of a bucket whose neighbours' files are read and written meanwhile, or not."""
    if not overlap:
        return train + files
    cores = cpu_count()
    return max(train + (files / cores if workers >= cores else 0.0), files)


def vector_bytes(graph: Graph, config: ModelConfig, key: Key) -> int:
    """Of a partition, without the sums."""
    name, partition = key
    return graph.entity_type(name).counts[partition] * 4 * config.dimension
