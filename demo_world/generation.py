"""From parameters to a finished directory: aside first, renamed when whole."""

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from demo_world.events.blocks import Block, plan_blocks
from demo_world.events.offsite import EVENTS
from demo_world.events.onsite import ACTIONS
from demo_world.events.production import BlockReport, Producer
from demo_world.events.tables import Names, consent_columns, item_columns, pin_columns, write_table
from demo_world.parameters import START, DemoDataError, WorldParameters
from demo_world.population.world import World, create_world

VERSION = 1  # of the generator: the same parameters and version give the same bytes
REPORT = "world.json"
MOST_PROCESSES = 4  # each takes about 400 MB

Report = dict[str, Any]
_producer: Producer  # set once in every worker process


def generate_world(
    directory: Path, parameters: WorldParameters, progress: Callable[[int], None] | None, processes: int | None
) -> Report:
    if directory.exists():
        return _existing_report(directory, parameters)
    partial = directory.with_name(directory.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    world = create_world(parameters)
    producer = Producer(world, Names.of(world), partial)
    _write_entities(producer)
    blocks = plan_blocks(world)
    total = BlockReport.empty()
    with _results(producer, blocks, processes or min(os.cpu_count() or 1, MOST_PROCESSES)) as results:
        for part in results:
            total += part
            if progress is not None:
                progress(part.rows)
    report = _report(world, total)
    (partial / REPORT).write_text(json.dumps(report, indent=2) + "\n")
    partial.rename(directory)
    return report


def existing_world(directory: Path) -> World:
    """The world in a directory, drawn anew from its seed. Raises DemoDataError where there is none, or another."""
    try:
        report = json.loads((directory / REPORT).read_text())
        parameters, version = WorldParameters(**report["parameters"]), report["generator_version"]
    except (OSError, ValueError, KeyError, TypeError, DemoDataError):
        raise DemoDataError(f"{directory}: no demo world (no readable {REPORT})") from None
    if version != VERSION:
        raise DemoDataError(f"{directory}: a demo world of version {version} of the generator, expected {VERSION}")
    world, truth = create_world(parameters), directory / "truth" / "user_latents.npy"
    if not truth.is_file() or not np.array_equal(np.load(truth), world.users.latent):
        raise DemoDataError(f"{truth}: not what the seed of {REPORT} gives here; make the world anew")
    return world


def _existing_report(directory: Path, parameters: WorldParameters) -> Report:
    """The report of the world that is there already, if it is the one that is asked for."""
    try:
        report: Report = json.loads((directory / REPORT).read_text())
        found, version = report["parameters"], report["generator_version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DemoDataError(f"{directory}: exists and is not a demo world (no readable {REPORT})") from None
    if found != parameters.as_dict():
        raise DemoDataError(f"{directory}: holds a demo world with {found}, expected {parameters.as_dict()}")
    if version != VERSION:
        raise DemoDataError(f"{directory}: holds a demo world of generator version {version}, expected {VERSION}")
    return report


@contextmanager
def _results(producer: Producer, blocks: list[Block], processes: int) -> Iterator[Iterator[BlockReport]]:
    """Reports of all blocks in their order; in this process when there is no work to share."""
    if min(processes, len(blocks)) == 1:
        yield map(producer.produce, blocks)
        return
    # Not forked: Arrow's threads would not survive it.
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(producer,)
    ) as pool:
        try:
            yield pool.map(_produce, blocks)  # lets go of a block's histograms once they are added up
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker(producer: Producer) -> None:
    """An interrupt is for the parent, which lets the blocks at hand end and drops the rest."""
    global _producer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _producer = producer


def _produce(block: Block) -> BlockReport:
    return _producer.produce(block)


def _write_entities(producer: Producer) -> None:
    """The tables that describe entities, and their latent vectors as arrays (.npz would hold the time)."""
    world, names, directory = producer.world, producer.names, producer.directory
    write_table(directory / "pins.parquet", pin_columns(world, names))
    write_table(directory / "items.parquet", item_columns(world, names))
    write_table(directory / "consent.parquet", consent_columns(world))
    (directory / "truth").mkdir()
    for name, latent in (("user", world.users.latent), ("pin", world.pins.latent), ("item", world.items.latent)):
        np.save(directory / "truth" / f"{name}_latents.npy", latent)


def _report(world: World, total: BlockReport) -> Report:
    """What is known about the world; nothing in it depends on when or how fast it was made."""
    parameters, ranker = world.parameters, total.ranker
    return {
        "generator_version": VERSION,
        "parameters": parameters.as_dict(),
        "windows": {"start": START, "graph_end": parameters.graph_end, "ranker_end": parameters.ranker_end},
        "entities": asdict(parameters.sizes) | {"opted_in": int(world.users.opted_in.sum())},
        "engagements": {action: total.engagements[action] for action in ACTIONS},
        "conversions": {event: total.conversions[event] for event in EVENTS},
        "ranker": {count: ranker[count] for count in ("impressions", "clicks", "conversions")},
        "ctr": ranker["clicks"] / ranker["impressions"],
        "cvr": ranker["conversions"] / ranker["clicks"] if ranker["clicks"] else None,
        "oracle": total.oracle.report(),
    }
