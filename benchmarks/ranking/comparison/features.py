"""What a team computes for its gradient boosting, from the log that the ranker reads: counts, lists, cosines.

Nothing here sees a label of a row's own day: counts and rates are those of earlier days, and a conversion counts from
the day on which it happened (from the end of its attribution window, where the log has no time of it).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from ranker.config.columns import DAY
from ranker.config.sections import RankerConfig
from ranker.data.ids.join import NO_ID, join_slot
from ranker.data.ids.slots import Layout, Slot
from ranker.data.log.block import LogBlock
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.times import epoch_seconds_of
from ranker.data.tabular.transforms import numbers

PRIOR_ROWS = 20  # that a smoothed rate counts of the mean
FUNCTIONAL = 0.99  # share of rows in which an ad's id has its one attribute
DECAY = 0.8  # a place
CHUNK = 1 << 14  # rows whose vectors are looked up together

Array = NDArray[Any]
Features = dict[str, Array]


@dataclass(frozen=True)
class Rows:
    """The rows of a log, N of them in its order; W places of all slots, as `Layout` has them."""

    times: Array  # (N,) epoch seconds
    click: Array  # (N,) -1 where unknown
    conversion: Array  # (N,)
    converted: Array  # (N,) epoch seconds from which a conversion is known
    hashes: Array  # (N, W)
    known: Array  # (N, W) rows of the export, -1 where it knows none
    ages: Array  # (N, W of lists with times) seconds
    numerics: Array  # (N, F)
    categoricals: Array  # (N, C) text

    @classmethod
    def of(cls, log: ImpressionLog, export: Embeddings | None) -> "Rows":
        layout = Layout.of(log.config)
        parts = [_read(log, block, layout, export) for block in log.blocks()]
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _read(log: ImpressionLog, block: LogBlock, layout: Layout, export: Embeddings | None) -> Rows:
    config, none = log.config, np.zeros((len(block.table), 0))
    exports = [export] if export else []
    joined = [join_slot(block, slot, exports, log.forgotten) for slot in layout.slots]
    known = [one.rows[0] if export else np.full(one.hashes.shape, -1, np.int32) for one in joined]
    timed = [slot.name for slot in layout.slots if slot.ages is not None]
    return Rows(
        times=log.times(block),
        click=log.clicks(block) if config.labels.click else np.full(len(none), -1, np.int8),
        conversion=log.conversions(block) if config.labels.conversion else np.full(len(none), -1, np.int8),
        converted=_converted(log, block),
        hashes=np.concatenate([one.hashes for one in joined], axis=1),
        known=np.concatenate(known, axis=1),
        ages=np.concatenate([none, *(log.ages(block, name) for name in timed)], axis=1).astype(np.float32),
        numerics=np.column_stack([none, *(numbers(block, name) for name in config.numerics)]),
        categoricals=np.array([block.column(name).cast("string").to_numpy(False) for name in config.categoricals]).T,
    )


def _converted(log: ImpressionLog, block: LogBlock) -> Array:
    labels, shown = log.config.labels, log.times(block)
    if labels.conversion_time is None:
        return shown + int((labels.attribution_days or 0) * DAY)
    return epoch_seconds_of(block, labels.conversion_time, log.config.time_unit).fill_null(0).to_numpy()


def plain(rows: Rows, config: RankerConfig) -> Features:
    """The tabular columns as they are; categoricals as codes."""
    found = {name: rows.numerics[:, index] for index, name in enumerate(config.numerics)}
    for index, name in enumerate(config.categoricals):
        values = rows.categoricals[:, index].astype(str)
        found[name] = np.unique(values, return_inverse=True)[1]
    return found


def counts(rows: Rows, config: RankerConfig, task: str, prior: float) -> Features:
    """Rows, positives and smoothed rates of each id, and of the user with each id of the ad, on earlier days."""
    layout = Layout.of(config)
    singles = [slot for slot in layout.slots if not slot.is_list]
    keys = {slot.name: _ids(rows, slot) for slot in singles}
    ads = [slot.name for slot in singles if slot.side == "ad"]
    keys |= {f"{config.user} x {name}": keys[config.user] << 32 | keys[name] for name in ads}
    judged = rows.click >= 0 if task == "ctr" else rows.click != 0
    positive = rows.click == 1 if task == "ctr" else judged & (rows.conversion == 1)
    day, event_day = rows.times // DAY, (rows.times if task == "ctr" else rows.converted) // DAY
    found = {}
    for name, key in keys.items():
        seen = earlier(key[judged], day[judged], np.ones(judged.sum()), key, day)
        positives = earlier(key[positive], event_day[positive], np.ones(positive.sum()), key, day)
        found |= {f"{name} rows": seen, f"{name} positives": positives}
        found[f"{name} rate"] = (positives + PRIOR_ROWS * prior) / (seen + PRIOR_ROWS)
    return found


def earlier(keys: Array, days: Array, values: Array, asked: Array, on: Array) -> Array:
    """For each key `asked` (M,) on a day: the sum of `values` (N,) of that key on days before."""
    key, day = np.concatenate([keys, asked]), np.concatenate([days, on])
    order = np.lexsort((day, key))
    key, day = key[order], day[order]
    before = np.concatenate([[0.0], np.cumsum(np.concatenate([values, np.zeros(len(asked))])[order])])
    fresh_key = np.append(True, key[1:] != key[:-1])
    fresh = fresh_key | np.append(True, day[1:] != day[:-1])
    place = np.arange(len(key))
    starts = [np.maximum.accumulate(np.where(first, place, 0)) for first in (fresh, fresh_key)]
    found = np.empty(len(key))
    found[order] = before[starts[0]] - before[starts[1]]
    return found[len(keys) :]


def lists(rows: Rows, config: RankerConfig) -> Features:
    """Ages, and matches of listed events with the ad: by id, and by what ads of that id have in common."""
    layout, found = Layout.of(config), {}
    for slot in _lists(layout):
        listed = rows.hashes[:, slot.tokens]
        ages = None if slot.ages is None else rows.ages[:, slot.ages]
        found[f"{slot.name} length"] = (listed != NO_ID).sum(axis=1)
        if ages is not None:
            found |= {f"{slot.name} age {place}": ages[:, place] for place in (0, 2) if place < slot.width}
        for name, same in _matches(rows, layout, slot, listed):
            found |= _places(f"{slot.name} = {name}", same, ages)
    return found


def _matches(rows: Rows, layout: Layout, slot: Slot, listed: Array) -> Iterator[tuple[str, Array]]:
    """The ad's slots that a list's ids can be compared with, and where they are equal (N, W)."""
    ads = _ads(layout)
    for key in (ad for ad in ads if ad.space == slot.space):
        ids = _ids(rows, key)
        yield key.name, (listed == ids[:, None]) & (listed != NO_ID)
        distinct, first = np.unique(ids, return_index=True)
        for ad in (ad for ad in ads if ad is not key):
            values = _ids(rows, ad)
            if (values[first][np.searchsorted(distinct, ids)] == values).mean() < FUNCTIONAL:
                continue
            at = np.searchsorted(distinct, listed).clip(max=len(distinct) - 1)
            mapped = np.where((distinct[at] == listed) & (listed != NO_ID), values[first][at], NO_ID)
            yield f"{ad.name} of {key.name}", (mapped == values[:, None]) & (mapped != NO_ID)


def _places(name: str, same: Array, ages: Array | None) -> Features:
    width = same.shape[1]
    first, matched = same.argmax(axis=1), same.any(axis=1)
    found = {
        f"{name} first": np.where(matched, first, width),
        f"{name} last": same[:, 0],
        f"{name} of 3": same[:, :3].sum(axis=1),
        f"{name} of all": same.sum(axis=1),
    }
    if ages is not None:
        found[f"{name} age"] = np.where(matched, ages[np.arange(len(ages)), first], np.nan)
    return found


def cosines(rows: Rows, config: RankerConfig, export: Embeddings) -> Features:
    """Of exported vectors: each user-side id with each of the ad's, lists by maximum, mean and decayed mean."""
    layout = Layout.of(config)
    unit = {kind: _unit(export.vectors(kind)) for kind in {str(slot.type) for slot in layout.graph()}}
    ads = [slot for slot in _ads(layout) if slot.type]
    parts = []
    for first in range(0, len(rows.times), CHUNK):
        known, part = rows.known[first : first + CHUNK], {}
        ad_vectors = {ad.name: _vectors(unit, ad, known)[:, 0] for ad in ads}
        for slot in (slot for slot in layout.graph(side="user")):
            present, vectors = known[:, slot.tokens] >= 0, _vectors(unit, slot, known)
            for ad in ads:
                cosine = np.einsum("nwd,nd->nw", vectors, ad_vectors[ad.name])
                part |= (
                    _windows(f"{slot.name} . {ad.name}", cosine, present)
                    if slot.is_list
                    else {f"{slot.name} . {ad.name}": cosine[:, 0]}
                )
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _windows(name: str, cosine: Array, present: Array) -> Features:
    largest = np.where(present, cosine, -1)
    weights = present * DECAY ** np.arange(cosine.shape[1])
    found = {f"{name} last": largest[:, 0]}
    for width in (3, cosine.shape[1]):
        count = np.maximum(present[:, :width].sum(axis=1), 1)
        found[f"{name} max {width}"] = largest[:, :width].max(axis=1)
        found[f"{name} mean {width}"] = (cosine * present)[:, :width].sum(axis=1) / count
    found[f"{name} decayed"] = (cosine * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
    return found


def _unit(vectors: Array) -> Array:
    found = np.asarray(vectors, np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def _vectors(unit: dict[str, Array], slot: Slot, known: Array) -> Array:
    """(n, W, D), zero for what the export does not know."""
    rows = known[:, slot.tokens]
    return unit[str(slot.type)][np.maximum(rows, 0)] * (rows >= 0)[:, :, None]


def _ids(rows: Rows, slot: Slot) -> Array:
    found: Array = rows.hashes[:, slot.first].astype(np.int64)
    return found


def _lists(layout: Layout) -> Sequence[Slot]:
    return [slot for slot in layout.slots if slot.is_list]


def _ads(layout: Layout) -> Sequence[Slot]:
    return [slot for slot in layout.slots if slot.side == "ad"]
