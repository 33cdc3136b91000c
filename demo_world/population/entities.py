"""Who and what the world is made of: people, advertisers, items and pins with their latent vectors.

These tables stay in memory (about 140 bytes a user, 100 a pin or an item, in every process); events do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demo_world import assumptions as a
from demo_world.parameters import WorldParameters, WorldSizes
from demo_world.sampling import Bools, Doubles, Floats, Ints, Longs, heavy_tail, normal, uniform, unit


@dataclass(frozen=True)
class Topics:
    centres: Floats  # (T, K), length 1
    share: Doubles  # (T,), sums to 1

    def draw(self, rng: np.random.Generator, *shape: int) -> Ints:
        return rng.choice(len(self.share), shape, p=self.share).astype(np.int32)


@dataclass(frozen=True)
class Users:
    """All arrays are (U,) unless a shape is given."""

    latent: Floats  # (U, K), length 1
    topics: Ints  # (U, 3)
    topic_cumulative: Floats  # (U, 3), the mixture's running sum
    graph_impressions: Longs
    ranker_impressions: Longs
    visit_rate: Floats  # a day
    propensity: Floats
    intent: Floats
    opted_in: Bools
    country: Ints
    device: Ints
    age: Ints

    def draw_topics(self, rng: np.random.Generator, users: Ints, count: int) -> Ints:
        """(N, count) topics from the mixtures of `users` (N,)."""
        picked = uniform(rng, len(users), count)
        cumulative = self.topic_cumulative[users]
        choice = (picked >= cumulative[:, :1]).astype(np.int8) + (picked >= cumulative[:, 1:2])
        return np.take_along_axis(self.topics[users], choice, axis=1)


@dataclass(frozen=True)
class Advertisers:
    latent: Floats  # (A, K)
    topic: Ints
    merchant: Ints
    size: Floats
    log_bid: Floats
    service: Bools  # converts by sign-up


@dataclass(frozen=True)
class Items:
    latent: Floats  # (I, K), length 1
    topic: Ints
    advertiser: Ints
    merchant: Ints
    appeal: Floats


@dataclass(frozen=True)
class Pins:
    latent: Floats  # (P, K), length 1
    topic: Ints
    advertiser: Ints
    item: Ints
    popularity: Floats
    quality: Floats
    log_bid: Floats
    format: Ints


def draw_topics(rng: np.random.Generator, sizes: WorldSizes) -> Topics:
    share = np.arange(1, sizes.topics + 1, dtype=np.float64) ** -a.TOPIC_EXPONENT
    return Topics(unit(normal(rng, sizes.topics, a.DIMENSION)), share / share.sum())


def draw_users(rng: np.random.Generator, parameters: WorldParameters, topics: Topics) -> Users:
    """People, and how many ads each will see: the totals are exact, the shares log-normal."""
    count = parameters.users
    followed = topics.draw(rng, count, a.USER_TOPICS)
    mixture = rng.dirichlet(np.ones(a.USER_TOPICS), count).astype(np.float32)
    centre = np.einsum("ut,utk->uk", mixture, topics.centres[followed])
    activity, intent = normal(rng, count), normal(rng, count)
    share = np.exp(a.ACTIVITY_SIGMA * activity.astype(np.float64))
    share /= share.sum()
    return Users(
        latent=unit(unit(centre) + _spread(rng, count, a.USER_SPREAD)),
        topics=followed,
        topic_cumulative=np.cumsum(mixture, axis=1),
        graph_impressions=rng.multinomial(parameters.graph_impressions, share),
        ranker_impressions=rng.multinomial(parameters.impressions, share),
        visit_rate=_visit_rate(rng, activity, intent),
        propensity=a.CLICK_PROPENSITY_SIGMA * normal(rng, count),
        intent=intent,
        opted_in=uniform(rng, count) < a.OPT_IN,
        country=_categories(rng, count, a.COUNTRIES),
        device=_categories(rng, count, a.DEVICES),
        age=_categories(rng, count, a.AGE_BUCKETS),
    )


def _visit_rate(rng: np.random.Generator, activity: Floats, intent: Floats) -> Floats:
    log_rate = a.VISIT_INTENT * intent + a.VISIT_ACTIVITY * activity + a.VISIT_SIGMA * normal(rng, len(intent))
    variance = a.VISIT_INTENT**2 + a.VISIT_ACTIVITY**2 + a.VISIT_SIGMA**2
    return np.asarray(np.exp(log_rate - variance / 2) * (a.VISITS_PER_MONTH / 30), dtype=np.float32)


def draw_advertisers(rng: np.random.Generator, sizes: WorldSizes, topics: Topics) -> Advertisers:
    """The first accounts are one a merchant (and the first merchants one a topic); more accounts share merchants."""
    others = sizes.advertisers - sizes.merchants
    merchant = np.concatenate([np.arange(sizes.merchants), rng.integers(0, sizes.merchants, others)]).astype(np.int32)
    merchant_topic = np.concatenate(
        [np.arange(sizes.topics, dtype=np.int32), topics.draw(rng, sizes.merchants - sizes.topics)]
    )
    topic = merchant_topic[merchant]
    count = sizes.advertisers
    return Advertisers(
        latent=topics.centres[topic] + _spread(rng, count, a.ADVERTISER_SPREAD),
        topic=topic,
        merchant=merchant,
        size=heavy_tail(rng, count, a.ADVERTISER_SIZE_SIGMA),
        log_bid=a.BID_SIGMA * normal(rng, count),
        service=uniform(rng, count) < a.SERVICE_ADVERTISERS,
    )


def draw_items(rng: np.random.Generator, sizes: WorldSizes, topics: Topics, advertisers: Advertisers) -> Items:
    """One item for every advertiser in its own topic, the rest by the advertisers' sizes."""
    rest = sizes.items - sizes.advertisers
    share = advertisers.size.astype(np.float64)
    drawn = rng.choice(sizes.advertisers, rest, p=share / share.sum())
    advertiser = np.concatenate([np.arange(sizes.advertisers), drawn]).astype(np.int32)
    strays = uniform(rng, sizes.items) < a.OFF_TOPIC_ITEMS
    strays[: sizes.advertisers] = False
    topic = np.where(strays, topics.draw(rng, sizes.items), advertisers.topic[advertiser]).astype(np.int32)
    middle = np.float32(0.5) * (topics.centres[topic] + advertisers.latent[advertiser])
    return Items(
        latent=unit(middle + _spread(rng, sizes.items, a.ITEM_SPREAD)),
        topic=topic,
        advertiser=advertiser,
        merchant=advertisers.merchant[advertiser],
        appeal=heavy_tail(rng, sizes.items, a.ITEM_APPEAL_SIGMA),
    )


def draw_pins(rng: np.random.Generator, sizes: WorldSizes, advertisers: Advertisers, items: Items) -> Pins:
    """Ads for items: at least one an advertiser, the rest for items as they come."""
    rest = sizes.pins - sizes.advertisers
    item = np.concatenate([np.arange(sizes.advertisers), rng.integers(0, sizes.items, rest)]).astype(np.int32)
    advertiser = items.advertiser[item]
    return Pins(
        latent=unit(items.latent[item] + _spread(rng, sizes.pins, a.PIN_SPREAD)),
        topic=items.topic[item],
        advertiser=advertiser,
        item=item,
        popularity=heavy_tail(rng, sizes.pins, a.PIN_POPULARITY_SIGMA),
        quality=a.PIN_QUALITY_SIGMA * normal(rng, sizes.pins),
        log_bid=advertisers.log_bid[advertiser],
        format=_categories(rng, sizes.pins, a.AD_FORMATS),
    )


def _spread(rng: np.random.Generator, count: int, length: float) -> Floats:
    """(count, K) isotropic noise of expected length `length`."""
    return np.asarray(length / a.DIMENSION**0.5 * normal(rng, count, a.DIMENSION), dtype=np.float32)


def _categories(rng: np.random.Generator, count: int, shares: Mapping[str, float]) -> Ints:
    return rng.choice(len(shares), count, p=list(shares.values())).astype(np.int32)
