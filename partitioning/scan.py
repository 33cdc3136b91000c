"""The pass over the sources: relations, entities and edges are found, ids are written, edges are spilled."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import DataError
from partitioning.config.sections import GraphConfig
from partitioning.edges.spill import EdgeSpill
from partitioning.edges.stream import spill_edges
from partitioning.entities.entity_map import EntityMap, grow_entities, map_entities
from partitioning.entities.id_files import append_entities, write_entities
from partitioning.events.events import Events, declared_events
from partitioning.events.forget import read_forgotten
from partitioning.events.relations import NamedRelation, named_relations
from partitioning.events.times import check_times
from partitioning.ledger.continuation import Reading
from partitioning.ledger.settled import Settled
from partitioning.sources.engine import Engine
from partitioning.sources.table import open_sources
from partitioning.thinning.hub_cap import EntityHashes, capped_types


@dataclass(frozen=True)
class Read:
    """What the events of a graph are, once read: `rows` by source, `without_consent` by declared relation."""

    relations: list[NamedRelation]
    entities: dict[str, EntityMap]
    edges: EdgeSpill
    hashes: EntityHashes
    types: dict[str, dict[str, str]]
    rows: dict[str, int]
    without_consent: dict[str, int]


def read_events(
    engine: Engine,
    config: GraphConfig,
    reading: Reading,
    destination: Path,
    spill: Path,
    threads: int,
    expected: int,
    progress: Callable[[str, float], None],
) -> Read:
    """Reads the events, maps and writes their entities and spills their edges."""
    progress("open sources", 0.0)
    before = reading.ledger
    sources = open_sources(engine, reading.config, reading.files, reading.frames, before.types if before else {})
    read_forgotten(engine, config, sources)
    events = declared_events(engine, reading.config, sources)
    check_times(engine, events)
    relations = named_relations(engine, config, events, before.relations if before else {})
    entities = _entities(engine, config, events, reading, destination, threads, progress)
    if not relations:
        raise DataError("graph.relations: no relation has a single edge")
    hashes = EntityHashes(spill, entities)
    for type in sorted(capped_types(config)):
        hashes.write(engine, entities[type])
    settled = Settled(reading.known, relations) if reading.known and before else None
    edges = spill_edges(
        engine,
        config,
        events,
        relations,
        entities,
        spill,
        lambda count: progress("edges", min(count / expected, 1.0)),
        settled,
    )
    rows = {name: int(engine.row(f"SELECT count(*) FROM {s.table}")[0]) for name, s in sources.items()}
    dropped = _without_consent(engine, config, events, before.without_consent if before else {})
    types = {name: source.types for name, source in sources.items()}
    return Read(relations, entities, edges, hashes, types, rows, dropped)


def _entities(
    engine: Engine,
    config: GraphConfig,
    events: list[Events],
    reading: Reading,
    destination: Path,
    threads: int,
    progress: Callable[[str, float], None],
) -> dict[str, EntityMap]:
    entities, capped, known = {}, capped_types(config), reading.known
    for done, name in enumerate(config.entities):
        progress("entities", done / len(config.entities))
        if known and reading.ledger:
            entities[name] = grow_entities(engine, config, events, name, known)
            append_entities(engine, entities[name], known, destination, threads)
        else:
            hashed = bool(config.split.random) or name in capped
            entities[name] = map_entities(engine, config, events, name, known, hashed)
            write_entities(engine, entities[name], destination)
    return entities


def _without_consent(
    engine: Engine, config: GraphConfig, events: list[Events], before: dict[str, int]
) -> dict[str, int]:
    """Rows that are no edges for want of consent, of each declared relation that needs some, also those `before`."""
    rows = Counter(before)
    for part in (part for part in events if part.consented):
        selected, agreed = " AND ".join(part.selected) or "true", " AND ".join(part.consented)
        sql = f"SELECT count(*) FROM {part.source.table} WHERE {selected} AND NOT ({agreed})"
        rows[config.relations[part.declared].label] += int(engine.row(sql)[0])
    return {relation.label: rows[relation.label] for relation in config.relations if relation.label in rows}
