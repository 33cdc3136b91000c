"""The pass over the events: entities and edges are read, ids are written, edges are spilled."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import DataError
from partitioning.config.sections import GraphConfig
from partitioning.edges.entity_hashes import EntityHashes
from partitioning.edges.grid import Grid
from partitioning.edges.spill import EdgeSpill
from partitioning.edges.stream import SpillReport, spill_edges
from partitioning.engines.event_reader import EventReader
from partitioning.entities.entity_map import EntityMap
from partitioning.entities.id_files import append_ids, write_ids
from partitioning.events.relations import NamedRelation
from partitioning.events.totals import ReadTotals
from partitioning.thinning.hub_cap import capped_types

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Scan:
    """What the events of a graph are, once read. The spill and the hashes lie on disk."""

    relations: list[NamedRelation]
    entities: dict[str, EntityMap]
    hashes: EntityHashes
    spill: EdgeSpill
    spilled: SpillReport
    totals: ReadTotals


def scan_events(
    reader: EventReader,
    config: GraphConfig,
    counted: Path | None,
    destination: Path,
    spill: Path,
    threads: int,
    expected: int,
    progress: Progress,
) -> Scan:
    """Maps and writes the entities of the events, after those of the graph `counted`, and spills their edges.

    Ids go to `destination`, edges to the directory `spill`. Raises what the reader raises, and DataError for a graph
    without a relation.
    """
    entities = _entities(reader, config, counted, destination, threads, progress)
    if not reader.relations:
        raise DataError("graph.relations: no relation has a single edge")
    hashes = EntityHashes(spill, entities)
    for type in sorted(capped_types(config)):
        hashes.write(type, reader.hashes(type))
    grid = Grid.of(reader.relations, entities)
    edges = EdgeSpill(spill, grid, any(relation.config.weight for relation in reader.relations))
    spilled = spill_edges(
        edges,
        reader.edge_batches(grid),
        len(reader.relations),
        lambda count: progress("edges", min(count / expected, 1.0)),
    )
    return Scan(reader.relations, entities, hashes, edges, spilled, reader.totals())


def _entities(
    reader: EventReader,
    config: GraphConfig,
    counted: Path | None,
    destination: Path,
    threads: int,
    progress: Progress,
) -> dict[str, EntityMap]:
    entities, capped = {}, capped_types(config)
    for done, name in enumerate(config.entities):
        progress("entities", done / len(config.entities))
        entities[name] = reader.map_entities(name, hashed=bool(config.split.random) or name in capped)
        with closing(reader.ids(name)) as batches:
            if counted:
                append_ids(entities[name], batches, counted, destination, threads)
            else:
                write_ids(entities[name], batches, destination)
    return entities
