"""What a block's users do on merchants' sites: visits of their own accord, and what follows from clicks."""

import numpy as np

from demo_world import assumptions as a
from demo_world.clock import draw_times
from demo_world.events.blocks import Block
from demo_world.events.eventlog import EventLog
from demo_world.events.onsite import Onsite
from demo_world.parameters import RANKER_DAYS
from demo_world.population.serving import CHUNK
from demo_world.population.world import World
from demo_world.sampling import (
    Bools,
    Floats,
    Ints,
    exponential_seconds,
    lognormal_seconds,
    sigmoid,
    uniform,
)

EVENTS = ("page_visit", "add_to_cart", "checkout", "signup")
PAGE_VISIT, ADD_TO_CART, CHECKOUT, SIGNUP = range(len(EVENTS))
LANDING_SECONDS = 3


def simulate_offsite(world: World, block: Block, onsite: Onsite, rng: np.random.Generator) -> EventLog:
    """The events' targets are items, for sign-ups too: the log will name only the item's advertiser."""
    visits = _organic_visits(world, block, rng)
    carts = _carts(world, visits, rng)
    landings, outcomes = _after_clicks(world, onsite, rng)
    # A purchase that follows an ad's landing page is that ad's conversion: `outcomes` has it already.
    landing_carts = _carts(world, landings, rng)
    return EventLog.concatenate(
        [visits, carts, _checkouts(world, carts, rng), _signups(world, visits, rng), landings, landing_carts, outcomes]
    )


def _organic_visits(world: World, block: Block, rng: np.random.Generator) -> EventLog:
    days = world.parameters.days + RANKER_DAYS
    members = np.arange(block.first, block.last, dtype=np.int32)
    user = np.repeat(members, rng.poisson(world.users.visit_rate[members] * days))
    chunks = [_choose_items(world, user[at : at + CHUNK], rng) for at in range(0, len(user), CHUNK)]
    item = np.concatenate(chunks) if chunks else np.empty(0, dtype=np.int32)
    return EventLog.of(PAGE_VISIT, user, item, draw_times(rng, len(user), 0, days))


def _choose_items(world: World, user: Ints, rng: np.random.Generator) -> Ints:
    """(N,) the item each visit goes to, among a few that come up, with odds exp(VISIT_AFFINITY * affinity).

    The choice is an exponential race: the first arrival wins, and an arrival's rate is its odds.
    """
    topical = (len(user), a.VISIT_CANDIDATES - 1)
    topics = world.users.draw_topics(rng, user, topical[1])
    candidates = np.concatenate(
        [world.items_popular.draw(rng, 0, (len(user), 1)), world.items_by_topic.draw(rng, topics, topical)], axis=1
    )
    affinity = np.einsum("nck,nk->nc", world.items.latent[candidates], world.users.latent[user])
    odds = np.exp(np.float32(a.VISIT_AFFINITY) * affinity)
    winner = np.argmin(rng.standard_exponential(candidates.shape, dtype=np.float32) / odds, axis=1)
    return np.asarray(candidates[np.arange(len(user)), winner])


def _carts(world: World, visits: EventLog, rng: np.random.Generator) -> EventLog:
    affinity = np.einsum("nk,nk->n", world.users.latent[visits.user], world.items.latent[visits.target])
    logit = (
        np.float32(np.log(a.CART_RATE / (1 - a.CART_RATE)))
        + np.float32(a.CART_INTENT) * world.users.intent[visits.user]
        + np.float32(a.CART_AFFINITY) * (affinity - np.float32(a.TYPICAL_AFFINITY))
    )
    carts = visits.take(~_service(world, visits.target) & _happens(rng, sigmoid(logit)))
    delay = 1 + exponential_seconds(rng, len(carts.user), a.CART_DELAY_MEAN)
    return EventLog.of(ADD_TO_CART, carts.user, carts.target, carts.time + delay)


def _checkouts(world: World, carts: EventLog, rng: np.random.Generator) -> EventLog:
    base = np.float32(np.log(a.CHECKOUT_RATE / (1 - a.CHECKOUT_RATE)))
    probability = sigmoid(base + np.float32(a.CHECKOUT_INTENT) * world.users.intent[carts.user])
    bought = carts.take(_happens(rng, probability))
    delay = 1 + lognormal_seconds(rng, len(bought.user), a.CHECKOUT_DELAY_MEDIAN, a.CHECKOUT_DELAY_SIGMA)
    return EventLog.of(CHECKOUT, bought.user, bought.target, bought.time + delay)


def _signups(world: World, visits: EventLog, rng: np.random.Generator) -> EventLog:
    probability = np.full(len(visits.user), a.SIGNUP_RATE, dtype=np.float32)
    joined = visits.take(_service(world, visits.target) & _happens(rng, probability))
    delay = 1 + exponential_seconds(rng, len(joined.user), a.CART_DELAY_MEAN)
    return EventLog.of(SIGNUP, joined.user, joined.target, joined.time + delay)


def _after_clicks(world: World, onsite: Onsite, rng: np.random.Generator) -> tuple[EventLog, EventLog]:
    """Landing pages of clicks (always of those that convert), and the conversions themselves."""
    shown, clicks = onsite.impressions, onsite.clicks
    user, item = shown.user[clicks.row], world.pins.item[shown.pin[clicks.row]]
    tagged = clicks.converted | (uniform(rng, len(user)) < a.CLICK_VISIT_RATE)
    landings = EventLog.of(PAGE_VISIT, user, item, clicks.time + LANDING_SECONDS).take(tagged)
    event = np.where(_service(world, item), SIGNUP, CHECKOUT).astype(np.int32)
    return landings, EventLog(user, item, event, clicks.conversion_time).take(clicks.converted)


def _service(world: World, item: Ints) -> Bools:
    return world.advertisers.service[world.items.advertiser[item]]


def _happens(rng: np.random.Generator, probability: Floats) -> Bools:
    return uniform(rng, len(probability)) < probability
