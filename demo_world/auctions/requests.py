"""Requests of the world's people: which ads compete, what they bid, and how people would truly answer each."""

from dataclasses import dataclass

import numpy as np

from demo_world import assumptions as a
from demo_world.population.serving import Served
from demo_world.population.world import World
from demo_world.sampling import Bools, Doubles, Ints, normal, sigmoid

CANDIDATES = 10


@dataclass(frozen=True)
class Requests:
    """R requests with C candidates each. The draws are one for all rankings: who shows the same ad gets the same click,
    and an ad that is likelier to be clicked gets all clicks of one that is less.
    """

    user: Ints  # (R,)
    pin: Ints  # (R, C)
    bid: Doubles  # (R, C) per click; 0 for a pin that stands there already
    p_click: Doubles  # (R, C)
    p_conversion: Doubles  # (R, C), given a click
    click_draw: Doubles  # (R,) uniform
    conversion_draw: Doubles  # (R,) uniform


def draw_requests(world: World, rng: np.random.Generator, user: Ints, position: Ints, hour: Ints) -> Requests:
    """Requests of `user` at `position` (from 1) in UTC `hour`, (R,) each, as the world's own policy retrieves."""
    pin = world.policy.candidates(rng, user, CANDIDATES)
    bid = np.exp(world.pins.log_bid[pin] + np.float32(a.PACING_SIGMA) * normal(rng, *pin.shape))
    people, ads = np.repeat(user, CANDIDATES), pin.ravel()
    affinity = np.einsum("nk,nk->n", world.pins.latent[ads], world.users.latent[people])
    shown, place = Served(ads, affinity, bid.ravel()), (np.repeat(one, CANDIDATES) for one in (position, hour))
    click = sigmoid(world.response.click_logit(people, shown, *place))
    conversion = sigmoid(world.response.conversion_logit(people, ads))
    return Requests(
        user=user,
        pin=pin,
        bid=np.where(repeated(pin), 0.0, bid),
        p_click=click.reshape(pin.shape).astype(np.float64),
        p_conversion=conversion.reshape(pin.shape).astype(np.float64),
        click_draw=rng.random(len(user)),
        conversion_draw=rng.random(len(user)),
    )


def repeated(pin: Ints) -> Bools:
    """Which of the pins (R, C) stand further left in their row already."""
    order = np.argsort(pin, axis=1, kind="stable")
    found = np.take_along_axis(pin, order, axis=1)
    again = np.zeros(pin.shape, dtype=np.bool_)
    np.put_along_axis(again, order[:, 1:], found[:, 1:] == found[:, :-1], axis=1)
    return again
