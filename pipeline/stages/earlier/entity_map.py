"""Which graph a new one continues the entity map of: the published one, unless the map begins anew.

The published run's own list of ids is the map, so what an abandoned run has seen leaves no trace in it.
"""

from pathlib import Path

from artifacts.files.intact import require_intact
from artifacts.formats.graph import load_graph
from artifacts.pseudonyms import key_mark
from partitioning import GraphConfig, id_key
from pipeline.workspace.context import Context


def map_since(context: Context) -> str | None:
    """When the entity map was last begun anew with `--rebuild`; None if never."""
    if context.rebuild:
        return context.rebuild
    records = (record for run in context.workspace.runs() if (record := run.record("partition")))
    newest = next(records, None)
    return newest["parts"].get("map") if newest else None


def key_of_ids(graph: GraphConfig) -> str | None:
    """What tells the key of the graph's pseudonyms from another; None where ids are kept as they are."""
    key = id_key(graph)
    return key_mark(key) if key else None


def previous_graph(context: Context) -> Path | None:
    """The graph whose ids keep partition and offset; None, and a line that says why, when the map begins anew."""
    latest = context.workspace.latest
    record = latest.record("partition") if latest else None
    if latest is None:
        return None
    if record is None:
        context.console.say(f"partition: a fresh entity map, since the published run {latest.id} holds no graph")
        return None
    if record["parts"].get("map") != map_since(context):
        context.console.say("partition: a fresh entity map (--rebuild)")
        return None
    config = context.config.graph
    if record["parts"].get("ids") != key_of_ids(config):
        context.console.say("partition: a fresh entity map, since graph.ids or its key changed")
        return None
    reads = ("graph.json", "entities/", *(("ledger/", "edges/train/") if config.append_only else ()))
    way_out = f"begin a fresh entity map with `{context.command('partition', '--rebuild')}`"
    require_intact(latest.directory("partition"), record["outputs"], reads, way_out)
    for entity_type in load_graph(latest.directory("partition")).entity_types:
        name, before = entity_type.name, entity_type.partitions
        if name in config.entities and config.partitions_of(name) != before:
            change = f"type '{name}' had {before} partitions, now {config.partitions_of(name)}"
            context.console.say(f"partition: a fresh entity map, since {change}")
            return None
    return latest.directory("partition")
