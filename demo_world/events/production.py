"""One block of the world, from seed to files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo_world.events.blocks import Block
from demo_world.events.eventlog import EventLog
from demo_world.events.history import recent_items, recent_pins
from demo_world.events.offsite import EVENTS, simulate_offsite
from demo_world.events.onsite import ACTIONS, Onsite, label_onsite, log_onsite, simulate_onsite
from demo_world.events.oracle import Oracle
from demo_world.events.tables import (
    Names,
    conversion_columns,
    engagement_columns,
    impression_columns,
    label_columns,
    truth_columns,
    write_table,
)
from demo_world.parameters import DAY
from demo_world.population.world import BLOCKS, World
from demo_world.sampling import seeded


@dataclass(frozen=True)
class BlockReport:
    """What adds up to the world's report: rows by kind, and how the truth ranks the labels."""

    engagements: Counter[str]
    conversions: Counter[str]
    ranker: Counter[str]
    oracle: Oracle

    @classmethod
    def empty(cls) -> "BlockReport":
        return cls(Counter(), Counter(), Counter(), Oracle.empty())

    def __add__(self, other: "BlockReport") -> "BlockReport":
        return BlockReport(
            self.engagements + other.engagements,
            self.conversions + other.conversions,
            self.ranker + other.ranker,
            self.oracle + other.oracle,
        )

    @property
    def rows(self) -> int:
        return self.engagements.total() + self.conversions.total() + self.ranker["impressions"]


@dataclass(frozen=True)
class Producer:
    """Simulates blocks and writes their part of every log under `directory`."""

    world: World
    names: Names
    directory: Path

    def produce(self, block: Block) -> BlockReport:
        rng = seeded(self.world.parameters.seed, BLOCKS, block.index)
        end = self.world.parameters.days * DAY
        onsite = simulate_onsite(self.world, block, rng)
        offsite = simulate_offsite(self.world, block, onsite, rng)
        engagements, conversions = log_onsite(onsite, end), offsite.cut(end)
        write_table(self._part("engagements", block), engagement_columns(self.names, block, engagements))
        write_table(self._part("conversions", block), conversion_columns(self.world, self.names, block, conversions))
        ranker, oracle = self._impressions(block, onsite, offsite)
        return BlockReport(_count(ACTIONS, engagements), _count(EVENTS, conversions), ranker, oracle)

    def _impressions(self, block: Block, onsite: Onsite, offsite: EventLog) -> tuple[Counter[str], Oracle]:
        """Write the days after the graph's window, in order of time, and apart from them their truth."""
        time = onsite.impressions.time
        rows = np.flatnonzero(time >= self.world.parameters.days * DAY)
        rows = rows[np.argsort(time[rows], kind="stable")]
        shown, labels = onsite.impressions.take(rows), label_onsite(onsite, rows)
        items = recent_items(offsite, shown, self.world.users.opted_in[shown.user])
        columns = impression_columns(self.world, self.names, block, shown, recent_pins(onsite, shown), items)
        write_table(self._part("impressions", block), columns | label_columns(labels))
        write_table(self.directory / "truth" / f"impressions-{block.name}", truth_columns(block, shown))
        counts = Counter(
            impressions=len(rows), clicks=int(labels.click.sum()), conversions=int(labels.conversion.sum())
        )
        return counts, Oracle.of(shown.p_click, shown.p_conversion, labels.click, labels.conversion)

    def _part(self, log: str, block: Block) -> Path:
        return self.directory / log / block.name


def _count(names: Sequence[str], log: EventLog) -> Counter[str]:
    return Counter(dict(zip(names, np.bincount(log.event, minlength=len(names)).tolist(), strict=True)))
