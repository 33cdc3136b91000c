"""Traffic served before the log begins: it sets the rates, and gives every ad a past click rate."""

from dataclasses import dataclass

import numpy as np

from demo_world import assumptions as a
from demo_world.clock import draw_times, hour_of
from demo_world.population.entities import Items, Users
from demo_world.population.response import Intercepts, Response, draw_position
from demo_world.population.serving import Served, ServingPolicy
from demo_world.sampling import Floats, Ints, sigmoid, uniform

SAMPLE = 250_000  # requests; the rates come out within 2 % of what was asked
PRIOR_REQUESTS_PER_PIN = 50  # a few clicks for a popular ad, none for most
PRIOR_STRENGTH = 100  # impressions at the average rate that smooth an ad's own rate


@dataclass(frozen=True)
class Traffic:
    """A random sample of what the policy serves, all (R,)."""

    user: Ints
    served: Served
    position: Ints
    hour: Ints

    @classmethod
    def draw(cls, rng: np.random.Generator, policy: ServingPolicy, count: int) -> "Traffic":
        user = _requesting_users(rng, policy.users, count)
        hour = hour_of(draw_times(rng, count, 0, 1))
        return cls(user, policy.serve(rng, user), draw_position(rng, count), hour)


def calibrated_response(rng: np.random.Generator, policy: ServingPolicy, items: Items) -> Response:
    """The response whose mean probabilities over the policy's traffic are the rates of `assumptions`."""
    traffic = Traffic.draw(rng, policy, SAMPLE)
    raw = Response(policy.users, policy.pins, items, Intercepts())
    click_logit = raw.click_logit(traffic.user, traffic.served, traffic.position, traffic.hour)
    conversion_logit = raw.conversion_logit(traffic.user, traffic.served.pin)
    click = solve_intercept(click_logit, a.CTR)
    p_click = sigmoid(click_logit + np.float32(click))
    intercepts = Intercepts(
        click=click,
        save=solve_intercept(raw.save_logit(traffic.served), a.SAVE_RATE),
        hide=solve_intercept(raw.hide_logit(traffic.served), a.HIDE_RATE),
        conversion=solve_intercept(conversion_logit, a.CVR, weights=p_click),
    )
    return Response(policy.users, policy.pins, items, intercepts)


def prior_click_rate(rng: np.random.Generator, policy: ServingPolicy, response: Response) -> Floats:
    """(P,) smoothed click rate of every pin in a sample of the month before the log."""
    shown = np.zeros(len(policy.pins.item), dtype=np.int64)
    clicked = np.zeros_like(shown)
    count = PRIOR_REQUESTS_PER_PIN * len(shown)
    for at in range(0, count, SAMPLE):
        traffic = Traffic.draw(rng, policy, min(SAMPLE, count - at))
        pin = traffic.served.pin
        logit = response.click_logit(traffic.user, traffic.served, traffic.position, traffic.hour)
        shown += np.bincount(pin, minlength=len(shown))
        clicked += np.bincount(pin[uniform(rng, len(pin)) < sigmoid(logit)], minlength=len(shown))
    return ((clicked + PRIOR_STRENGTH * a.CTR) / (shown + PRIOR_STRENGTH)).astype(np.float32)


def solve_intercept(logits: Floats, rate: float, weights: Floats | None = None) -> float:
    """The constant that brings the (weighted) mean probability of `logits` (N,) to `rate`, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        mean = np.average(sigmoid(logits + np.float32(middle)), weights=weights)
        low, high = (middle, high) if mean < rate else (low, middle)
    return low


def _requesting_users(rng: np.random.Generator, users: Users, count: int) -> Ints:
    """(count,) users in proportion to their activity, by inverting its distribution function."""
    cumulative = np.cumsum(users.ranker_impressions + users.graph_impressions)
    return np.searchsorted(cumulative, rng.integers(0, cumulative[-1], count), side="right").astype(np.int32)
