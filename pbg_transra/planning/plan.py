"""The plan of a training: what is counted, what is measured, and what is refused before it starts."""

from pathlib import Path

from artifacts.formats.graph import load_graph
from artifacts.machine.resources import cpu_count, require_disk
from pbg_transra.backends.choice import chosen_device
from pbg_transra.backends.device.room import device_bytes
from pbg_transra.config import ModelConfig
from pbg_transra.planning.calibration import measure
from pbg_transra.planning.duration import expected_seconds, pass_seconds
from pbg_transra.planning.memory import check_names, disk_of, needs_of
from pbg_transra.reports import TrainingPlan
from pbg_transra.start.from_pbg import check_start
from pbg_transra.training.checkpoint_files import CheckpointFiles
from pbg_transra.training.edge_files import training_edges
from pbg_transra.training.loop import capacity_of


def plan_training(
    graph_dir: Path, config: ModelConfig, start: Path | None, interrupted: Path | None, scratch: Path, restart: bool
) -> TrainingPlan:
    """`start`: the checkpoint of stock PBG to begin with. `interrupted`: the training to go on with or, at a
    `restart`, what is removed before the first step. `scratch`: where the model will lie. Raises DataError for names
    that the graph lacks and for a start that does not fit, ResourceError where the machine or its GPU is too small,
    ConfigError without the GPU that is asked for."""
    graph = load_graph(graph_dir)
    check_names(graph, config)
    if start:
        check_start(start, graph_dir, config)
    edges, workers = training_edges(graph_dir, graph, config.edge_chunks), config.workers or cpu_count()
    on_device = device_bytes(graph, config, capacity_of(graph, edges, config))
    device = chosen_device(config, on_device)
    needs = needs_of(graph, edges, config, workers, device.type)
    needs.require()
    there = CheckpointFiles(interrupted, {}) if interrupted else None
    kept = None if restart else there
    done = kept.passes if kept else 0
    speed = measure(graph, edges, config, workers, scratch, device)
    workers = workers if device.type == "cpu" else 0  # a device's thread leaves the cores to what is read and written
    one_pass = pass_seconds(graph, edges, config, workers, speed, 0)
    snapshot = kept is not None and kept.has_snapshot
    disk = disk_of(graph, config, one_pass, done > 0, snapshot)
    require_disk(scratch, disk - (there.bytes if there else 0), "training")
    seconds = round(expected_seconds(graph, edges, config, workers, speed, done))
    taken = 0 if device.type == "cpu" else on_device
    return TrainingPlan(needs.memory, needs.shared_memory, disk, seconds, taken)
