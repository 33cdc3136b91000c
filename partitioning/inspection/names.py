"""Names of a graph's relations before it is built: those of a `relation_column` are read from the sources."""

from pathlib import Path
from tempfile import TemporaryDirectory

from artifacts.expressions.engine import Engine
from artifacts.machine.resources import cpu_count
from artifacts.sources.source_files import Files
from partitioning.config.sections import GraphConfig
from partitioning.events.events import declared_events
from partitioning.events.relations import NamedRelation, named_relations
from partitioning.sources.pseudonyms import know_key
from partitioning.sources.table import open_sources


def relation_names(config: GraphConfig, files: dict[str, Files]) -> list[str]:
    """See `partitioning.relation_names`."""
    return config.declared_names + [relation.name for relation in relations_of_columns(config, files)]


def relations_of_columns(config: GraphConfig, files: dict[str, Files]) -> list[NamedRelation]:
    """The relations that columns name; raises what `relation_names` does."""
    expanded = config.model_copy(update={"relations": [r for r in config.relations if r.relation_column]})
    with TemporaryDirectory() as spill:
        engine = Engine(Path(spill), config.memory_bytes, config.threads or cpu_count())
        know_key(engine, config)
        engine.lock((path for found in files.values() for path in found), [Path(spill)])
        try:
            sources = open_sources(engine, expanded, files, {}, {}, staged=False)
            return named_relations(engine, expanded, declared_events(engine, expanded, sources), {})
        finally:
            engine.close()
