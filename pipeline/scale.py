"""`transra plan`: what a graph of any size would take, stage by stage, on machines like this one."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import psutil

from artifacts.errors import ConfigError
from artifacts.graph import SPLITS, Relation, load_graph
from artifacts.resources import GIB, cpu_count
from pipeline.running.expected import told
from pipeline.workspace.context import Context

MEMORY_SHARE = 0.8  # of a machine's memory, for one training


class Size(NamedTuple):
    """What is asked about."""

    edges: int
    entities: int
    machines: int


def plan_size(context: Context, size: Size) -> dict[str, Any]:
    """Prints and returns bytes and seconds of partition, train and export. Nothing is made, and no log is read.

    Types and relations have the proportions of the newest graph of the workspace; without one, equal parts. Raises
    ConfigError where neither is known.
    """
    from partitioning import expect_size
    from pbg_transra import plan_scale

    graph, model = context.config.graph, context.config.trained
    relations, entities = shape(context, size)
    memory = int(psutil.virtual_memory().total * MEMORY_SHARE)
    if not context.workspace.path.is_dir():
        raise ConfigError(f"{context.workspace.path}: missing, expected a workspace to measure in; partition first")
    plan = plan_scale(
        relations, entities, model, context.config.export, size.machines, memory, context.workspace.path
    )  # fmt: skip
    partitioned = graph.model_copy(update={"partitions": plan.partitions})
    build = expect_size(partitioned, entities, size.edges, plan.partitions**2)
    stages = {
        "partition": resources(build.disk_bytes, build.memory_bytes, build.seconds),
        "train": {**resources(plan.disk, plan.memory, plan.seconds), "shared_memory_bytes": plan.shared_memory},
        "export": resources(plan.export_disk, 0, plan.export_seconds),
    }
    passes = max(1, model.passes)
    traffic = {"bytes_per_pass": plan.traffic, "bytes_per_second": round(plan.traffic * passes / max(plan.seconds, 1))}
    say(context, size, plan.partitions, stages, traffic)
    return {**size._asdict(), "partitions": plan.partitions, "stages": stages, "network": traffic}


def resources(disk: int, memory: int, seconds: float) -> dict[str, int]:
    found = {"disk_bytes": disk, "memory_bytes": memory, "seconds": round(seconds)}
    return {name: value for name, value in found.items() if value}


def say(
    context: Context, size: Size, partitions: int, stages: Mapping[str, dict[str, int]], traffic: dict[str, int]
) -> None:
    total = psutil.virtual_memory().total / GIB
    context.console.say(
        f"plan: {size.edges:,} edges, {size.entities:,} entities, {size.machines} machines like this one "
        f"({cpu_count()} cores, {total:.0f} GiB), {partitions} partitions of each type"
    )
    for name, expected in stages.items():
        on = " on one machine" if size.machines > 1 and name != "train" else ""
        context.console.say(f"{name}: {told(expected)}{on}")
    if size.machines > 1:
        context.console.say(
            f"network: {traffic['bytes_per_pass'] / GIB:,.1f} GiB of vectors in each pass, "
            f"{traffic['bytes_per_second'] / 1e6:,.0f} MB/s of the shared file system"
        )


def shape(context: Context, size: Size) -> tuple[list[Relation], dict[str, int]]:
    """Relations with their training edges, and entities by type, of a size."""
    run = next((run for run in context.workspace.runs() if run.record("partition")), None)
    if run is not None:
        graph = load_graph(run.directory("partition"))
        count, total = max(graph.entities, 1), max(graph.edges("train"), 1)
        shares = {kind.name: kind.count / count for kind in graph.entity_types}
        relations = [(relation, relation.edges["train"] / total) for relation in graph.relations]
    else:
        declared = context.config.graph.with_inverses().relations
        names = [relation.name or f"{relation.relation_column} {number}" for number, relation in enumerate(declared)]
        relations = [
            (Relation(name, relation.lhs.type, relation.rhs.type, relation.domain, {}), 1 / len(declared))
            for name, relation in zip(names, declared, strict=True)
        ]
        shares = dict.fromkeys(context.config.graph.entities, 1 / len(context.config.graph.entities))
    sized = [
        Relation(
            r.name, r.lhs, r.rhs, r.domain, {**dict.fromkeys(SPLITS, 0), "train": int(share * size.edges)}, r.weighted
        )
        for r, share in relations
    ]
    return sized, {name: max(1, int(share * size.entities)) for name, share in shares.items()}
