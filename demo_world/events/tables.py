"""Columns to Parquet: names, types and spelled-out ids."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from demo_world import assumptions as a
from demo_world.clock import hour_of
from demo_world.events.blocks import Block
from demo_world.events.eventlog import EventLog
from demo_world.events.history import RecentLists
from demo_world.events.offsite import EVENTS, SIGNUP
from demo_world.events.onsite import ACTIONS, Impressions, Labels
from demo_world.parameters import START
from demo_world.population.world import World
from demo_world.sampling import Ints, Longs

ROW_GROUP = 1 << 17
Columns = dict[str, Any]  # arrays of Arrow or of numpy


def write_table(path: Path, columns: Columns) -> None:
    """A Parquet file without a time or a name in it, so that the same columns give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=ROW_GROUP, store_schema=False)


def ids(prefix: str, first: int, last: int) -> pa.Array:
    """Names such as u0, u1, ... of the entities from `first` to `last` (exclusive)."""
    return pc.binary_join_element_wise(prefix, pa.array(np.arange(first, last)).cast(pa.string()), "")


def spelled(names: Iterable[str], codes: Ints) -> pa.Array:
    return pa.array(list(names)).take(pa.array(codes))


@dataclass(frozen=True)
class Names:
    """The ids of everything but people, whose ids are spelled block by block."""

    topics: pa.Array
    merchants: pa.Array
    advertisers: pa.Array
    items: pa.Array
    pins: pa.Array

    @classmethod
    def of(cls, world: World) -> "Names":
        sizes = world.parameters.sizes
        return cls(
            topics=ids("t", 0, sizes.topics),
            merchants=ids("m", 0, sizes.merchants),
            advertisers=ids("a", 0, sizes.advertisers),
            items=ids("i", 0, sizes.items),
            pins=ids("p", 0, sizes.pins),
        )


def pin_columns(world: World, names: Names) -> Columns:
    pins = world.pins
    return {
        "pin_id": names.pins,
        "advertiser_id": names.advertisers.take(pins.advertiser),
        "topic_id": names.topics.take(pins.topic),
        "item_id": names.items.take(pins.item),
    }


def item_columns(world: World, names: Names) -> Columns:
    items = world.items
    return {
        "item_id": names.items,
        "merchant_id": names.merchants.take(items.merchant),
        "topic_id": names.topics.take(items.topic),
    }


def consent_columns(world: World) -> Columns:
    return {"user_id": ids("u", 0, world.parameters.users), "opted_in": world.users.opted_in}


def engagement_columns(names: Names, block: Block, log: EventLog) -> Columns:
    return {
        "user_id": _users(block, log.user),
        "pin_id": names.pins.take(log.target),
        "action": spelled(ACTIONS, log.event),
        "ts": START + log.time,
    }


def conversion_columns(world: World, names: Names, block: Block, log: EventLog) -> Columns:
    """A sign-up has no item."""
    return {
        "user_id": _users(block, log.user),
        "event": spelled(EVENTS, log.event),
        "item_id": names.items.take(pa.array(log.target, mask=log.event == SIGNUP)),
        "advertiser_id": names.advertisers.take(world.items.advertiser[log.target]),
        "ts": START + log.time,
    }


def ad_columns(world: World, names: Names, pin: Ints) -> Columns:
    """What a ranker may see of the ads `pin` (R,)."""
    ads = world.pins
    return {
        "pin_id": names.pins.take(pin),
        "advertiser_id": names.advertisers.take(ads.advertiser[pin]),
        "topic_id": names.topics.take(ads.topic[pin]),
        "item_id": names.items.take(ads.item[pin]),
        "ad_format": spelled(a.AD_FORMATS, ads.format[pin]),
        "pin_prior_ctr": world.pin_prior_ctr[pin],
    }


def impression_columns(
    world: World, names: Names, block: Block, shown: Impressions, pins: RecentLists, items: RecentLists
) -> Columns:
    """What a ranker may see, all of it known before the ad was shown."""
    users, ads = world.users, ad_columns(world, names, shown.pin)
    return {
        "impression_id": impression_numbers(block, shown),
        "ts": START + shown.time,
        "user_id": _users(block, shown.user),
        **{name: ads[name] for name in ("pin_id", "advertiser_id", "topic_id", "item_id")},
        "recent_pins": _lists(names.pins, pins),
        "recent_items": _lists(names.items, items),
        "recent_pins_ts": _times(pins),
        "recent_items_ts": _times(items),
        "hour": hour_of(shown.time).astype(np.int8),
        "position": shown.position.astype(np.int8),
        "country": spelled(a.COUNTRIES, users.country[shown.user]),
        "device": spelled(a.DEVICES, users.device[shown.user]),
        "age_bucket": spelled(a.AGE_BUCKETS, users.age[shown.user]),
        "ad_format": ads["ad_format"],
        "user_impressions_30d": shown.recent.astype(np.int32),
        "pin_prior_ctr": ads["pin_prior_ctr"],
    }


def label_columns(labels: Labels) -> Columns:
    """`conversion_ts` is null where there was none."""
    return {
        "click": labels.click.astype(np.int8),
        "conversion": labels.conversion.astype(np.int8),
        "conversion_ts": pa.array(START + labels.conversion_time, mask=~labels.conversion),
    }


def truth_columns(block: Block, shown: Impressions) -> Columns:
    return {
        "impression_id": impression_numbers(block, shown),
        "p_click": shown.p_click,
        "p_conversion_given_click": shown.p_conversion,
        "bid": shown.bid,
    }


def impression_numbers(block: Block, shown: Impressions) -> Longs:
    return block.first_impression + np.arange(len(shown.user))


def _users(block: Block, users: Ints) -> pa.Array:
    return ids("u", block.first, block.last).take(users - block.first)


def _lists(names: pa.Array, lists: RecentLists) -> pa.Array:
    return pa.ListArray.from_arrays(lists.offsets, names.take(lists.targets))


def _times(lists: RecentLists) -> pa.Array:
    return pa.ListArray.from_arrays(lists.offsets, pa.array(START + lists.times))
