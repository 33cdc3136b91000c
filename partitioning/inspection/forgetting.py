"""The list of entities to forget, for those who read other logs of theirs."""

from pathlib import Path
from tempfile import TemporaryDirectory

from artifacts.expressions.engine import Engine
from artifacts.machine.resources import cpu_count
from artifacts.sources.source_files import Files
from partitioning.config.sections import GraphConfig
from partitioning.events.forget import TABLE, read_forgotten
from partitioning.sources.pseudonyms import forget_key, know_key
from partitioning.sources.table import open_sources


def forgotten_ids(config: GraphConfig, files: dict[str, Files]) -> dict[str, list[str]]:
    """See `partitioning.forgotten_ids`."""
    if config.forget is None:
        return {}
    lists = config.model_copy(update={"relations": []})
    with TemporaryDirectory() as spill:
        engine = Engine(Path(spill), config.memory_bytes, config.threads or cpu_count())
        know_key(engine, config)
        engine.lock((path for found in files.values() for path in found), [Path(spill)])
        try:
            sources = open_sources(engine, lists, files, {}, {})
            forget_key(engine)
            read_forgotten(engine, config, sources)
            rows = engine.rows(f"SELECT type, list(id ORDER BY id) FROM {TABLE} GROUP BY type ORDER BY type")
        finally:
            engine.close()
    return dict(rows)
