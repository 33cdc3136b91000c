"""Impressions of a block's users and what people did with them."""

from dataclasses import dataclass, fields

import numpy as np

from demo_world import assumptions as a
from demo_world.clock import draw_times, hour_of
from demo_world.events.blocks import Block
from demo_world.events.eventlog import EventLog
from demo_world.parameters import DAY, RANKER_DAYS
from demo_world.population.response import draw_position
from demo_world.population.serving import Served
from demo_world.population.world import World
from demo_world.sampling import (
    Bools,
    Floats,
    Ints,
    Longs,
    exponential_seconds,
    lognormal_seconds,
    sigmoid,
    uniform,
)

ACTIONS = ("impression", "click", "long_click", "save", "hide")
IMPRESSION, CLICK, LONG_CLICK, SAVE, HIDE = range(len(ACTIONS))
REACTION_SECONDS = 8.0
DWELL_SECONDS = 30  # a click becomes a long click after this long on the landing page
HISTORY_DAYS = 30


@dataclass(frozen=True)
class Impressions:
    """Shown ads, all (R,), by user and within a user by time (seconds since the world's start)."""

    user: Ints
    time: Longs
    pin: Ints
    bid: Floats
    position: Ints
    p_click: Floats
    p_conversion: Floats  # given a click
    recent: Longs  # impressions of the same user in the 30 days before

    def take(self, rows: Longs) -> "Impressions":
        return Impressions(*(getattr(self, column.name)[rows] for column in fields(self)))


@dataclass(frozen=True)
class Clicks:
    """All (C,); `row` points into the impressions. `conversion_time` counts only where `converted`."""

    row: Longs
    time: Longs
    long: Bools
    converted: Bools
    conversion_time: Longs


@dataclass(frozen=True)
class Onsite:
    impressions: Impressions
    clicks: Clicks
    saves: EventLog
    hides: EventLog


@dataclass(frozen=True)
class Labels:
    """All (R,); `conversion_time` counts only where `conversion`."""

    click: Bools
    conversion: Bools
    conversion_time: Longs


def simulate_onsite(world: World, block: Block, rng: np.random.Generator) -> Onsite:
    user, time, key = _requests(world, block, rng)
    served = world.policy.serve(rng, user)
    position = draw_position(rng, len(user))
    p_click = sigmoid(world.response.click_logit(user, served, position, hour_of(time)))
    impressions = Impressions(
        user=user,
        time=time,
        pin=served.pin,
        bid=served.bid,
        position=position,
        p_click=p_click,
        p_conversion=sigmoid(world.response.conversion_logit(user, served.pin)),
        recent=_recent(key),
    )
    return Onsite(
        impressions=impressions,
        clicks=_clicks(impressions, served, rng),
        saves=_reactions(SAVE, sigmoid(world.response.save_logit(served)), impressions, rng),
        hides=_reactions(HIDE, sigmoid(world.response.hide_logit(served)), impressions, rng),
    )


def log_onsite(onsite: Onsite, end: int) -> EventLog:
    """The engagement log up to `end`."""
    shown, clicks = onsite.impressions, onsite.clicks
    graph = shown.time < end
    user, pin = shown.user[clicks.row], shown.pin[clicks.row]
    long = clicks.long
    return EventLog.concatenate(
        [
            EventLog.of(IMPRESSION, shown.user[graph], shown.pin[graph], shown.time[graph]),
            EventLog.of(CLICK, user, pin, clicks.time),
            EventLog.of(LONG_CLICK, user[long], pin[long], clicks.time[long] + DWELL_SECONDS),
            onsite.saves,
            onsite.hides,
        ]
    ).cut(end)


def label_onsite(onsite: Onsite, rows: Longs) -> Labels:
    """The labels of the impressions in `rows` (R,)."""
    clicks, count = onsite.clicks, len(onsite.impressions.user)
    click, conversion = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    conversion_time = np.zeros(count, dtype=np.int64)
    click[clicks.row] = True
    conversion[clicks.row] = clicks.converted
    conversion_time[clicks.row] = clicks.conversion_time
    return Labels(click[rows], conversion[rows], conversion_time[rows])


def _requests(world: World, block: Block, rng: np.random.Generator) -> tuple[Ints, Longs, Longs]:
    """Users and times of a block's requests, by user and time, and the sort key that holds both."""
    days = world.parameters.days
    # The room between users keeps the 30 days before an impression clear of the user before.
    stride = (days + RANKER_DAYS + HISTORY_DAYS) * DAY
    members = np.arange(block.first, block.last)
    graph = world.users.graph_impressions[block.first : block.last]
    ranker = world.users.ranker_impressions[block.first : block.last]
    user = np.concatenate([np.repeat(members, graph), np.repeat(members, ranker)])
    time = np.concatenate(
        [draw_times(rng, int(graph.sum()), 0, days), draw_times(rng, int(ranker.sum()), days, RANKER_DAYS)]
    )
    key = np.sort(user * stride + time)
    return (key // stride).astype(np.int32), key % stride, key


def _recent(key: Longs) -> Longs:
    return np.arange(len(key)) - np.searchsorted(key, key - HISTORY_DAYS * DAY)


def _clicks(shown: Impressions, served: Served, rng: np.random.Generator) -> Clicks:
    row = np.flatnonzero(uniform(rng, len(shown.user)) < shown.p_click)
    count = len(row)
    time = shown.time[row] + 2 + exponential_seconds(rng, count, REACTION_SECONDS)
    delay = lognormal_seconds(rng, count, a.CONVERSION_DELAY_MEDIAN, a.CONVERSION_DELAY_SIGMA)
    stay = sigmoid(np.float32(a.LONG_CLICK_BASE) + np.float32(a.LONG_CLICK_AFFINITY) * served.affinity[row])
    return Clicks(
        row=row,
        time=time,
        long=uniform(rng, count) < stay,
        converted=uniform(rng, count) < shown.p_conversion[row],
        conversion_time=time + DWELL_SECONDS + delay % (a.ATTRIBUTION_DAYS * DAY - DWELL_SECONDS),
    )


def _reactions(event: int, probability: Floats, shown: Impressions, rng: np.random.Generator) -> EventLog:
    row = np.flatnonzero(uniform(rng, len(probability)) < probability)
    time = shown.time[row] + 1 + exponential_seconds(rng, len(row), REACTION_SECONDS)
    return EventLog.of(event, shown.user[row], shown.pin[row], time)
