"""`transra plan`: what a graph of any size would take, stage by stage, on machines like this one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, NamedTuple

import psutil

from artifacts.errors import ConfigError
from artifacts.formats.graph import SPLITS, Relation, Side, load_graph
from artifacts.machine.resources import GIB, cpu_count
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

    Types and relations have the proportions of the newest graph of the workspace; without one of the config's types,
    equal parts. Raises ConfigError for more entities than edges have ends and where there is no workspace to measure
    in, ResourceError where nothing fits, DataError for what several machines cannot share out.
    """
    from partitioning import expect_size
    from pbg_transra import plan_scale

    if size.entities > len(Side) * size.edges:
        raise ConfigError(
            f"plan: --entities {size.entities:,} are more than the {len(Side) * size.edges:,} ends of --edges "
            f"{size.edges:,}, and each is one of an edge; lower --entities"
        )
    graph, model = context.config.graph, context.config.trained
    relations, entities = shape(context, size)
    memory = int(psutil.virtual_memory().total * MEMORY_SHARE)
    if not context.workspace.path.is_dir():
        raise ConfigError(f"{context.workspace.path}: missing, expected a workspace to measure in; partition first")
    whole = [name for name, entity in graph.entities.items() if entity.partitions == 1]
    plan = plan_scale(
        relations, entities, model, context.config.export, size.machines, memory, context.workspace.path, whole
    )  # fmt: skip
    partitioned = graph.model_copy(update={"partitions": plan.partitions})
    ends = Counter(type for relation in relations for type in (relation.lhs, relation.rhs))
    build = expect_size(partitioned, entities, ends, size.edges, plan.partitions**2)
    stages = {
        "partition": resources(build.disk_bytes, build.memory_bytes, build.seconds),
        "train": {**resources(plan.disk, plan.memory, plan.seconds), "shared_memory_bytes": plan.shared_memory},
        "export": resources(plan.export_disk, 0, plan.export_seconds),
    }
    passes = max(1, model.passes)
    traffic = {"bytes_per_pass": plan.traffic, "bytes_per_second": round(plan.traffic * passes / max(plan.seconds, 1))}
    say(context, size, plan.partitions, whole, stages, traffic)
    return {**size._asdict(), "partitions": plan.partitions, "stages": stages, "network": traffic}


def parts(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers near the shares of a total, which they add up to."""
    ends = [round(total * min(share, 1.0)) for share in accumulate(shares[:-1])]
    return [after - before for before, after in zip([0, *ends], [*ends, total], strict=True)]


def resources(disk: int, memory: int, seconds: float) -> dict[str, int]:
    found = {"disk_bytes": disk, "memory_bytes": memory, "seconds": round(seconds)}
    return {name: value for name, value in found.items() if value}


def say(
    context: Context,
    size: Size,
    partitions: int,
    whole: Sequence[str],
    stages: Mapping[str, dict[str, int]],
    traffic: dict[str, int],
) -> None:
    of_each = "of each type" + (f", one of {', '.join(whole)}" if whole and partitions > 1 else "")
    total = psutil.virtual_memory().total / GIB
    context.console.say(
        f"plan: {size.edges:,} edges, {size.entities:,} entities, {size.machines} machines like this one "
        f"({cpu_count()} cores, {total:.0f} GiB), {partitions} partitions {of_each}"
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
    """Relations, whose training edges add up to the size's, and entities by type, one of each at least."""
    run = next((run for run in context.workspace.runs() if run.record("partition")), None)
    graph = load_graph(run.directory("partition")) if run else None
    if (
        graph
        and graph.edges("train")
        and {kind.name for kind in graph.entity_types} == {*context.config.graph.entities}
    ):
        shares = {kind.name: kind.count / graph.entities for kind in graph.entity_types}
        relations = [(relation, relation.edges["train"] / graph.edges("train")) for relation in graph.relations]
    else:
        declared = context.config.graph.with_inverses().relations
        names = [relation.name or f"{relation.relation_column} {number}" for number, relation in enumerate(declared)]
        relations = [
            (Relation(name, relation.lhs.type, relation.rhs.type, relation.domain, {}), 1 / len(declared))
            for name, relation in zip(names, declared, strict=True)
        ]
        shares = dict.fromkeys(context.config.graph.entities, 1 / len(context.config.graph.entities))
    counts = parts(size.edges, [share for _, share in relations])
    sized = [
        replace(relation, edges={**dict.fromkeys(SPLITS, 0), "train": count})
        for (relation, _), count in zip(relations, counts, strict=True)
    ]
    return sized, {name: max(1, int(share * size.entities)) for name, share in shares.items()}
