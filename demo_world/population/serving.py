"""The ad-serving policy: retrieval, then an auction, both in favour of what is popular already."""

from dataclasses import dataclass

import numpy as np

from demo_world import assumptions as a
from demo_world.population.entities import Pins, Users
from demo_world.sampling import Floats, Ints, QuantileTable, grouped_table, normal, single_table

CHUNK = 8192  # requests whose candidates' vectors fit into the cache together


@dataclass(frozen=True)
class Served:
    """One shown ad a request, all (R,)."""

    pin: Ints
    affinity: Floats  # inner product of the user's and the pin's interests, -1 to 1
    bid: Floats  # currency units a click


@dataclass(frozen=True)
class ServingPolicy:
    users: Users
    pins: Pins
    popular: QuantileTable
    by_topic: QuantileTable
    prior: Floats  # (P,) what bid and popularity alone contribute to an ad's log score

    @classmethod
    def of(cls, users: Users, pins: Pins) -> "ServingPolicy":
        return cls(
            users=users,
            pins=pins,
            popular=single_table(pins.popularity),
            by_topic=grouped_table(pins.topic, np.sqrt(pins.popularity)),
            prior=np.asarray(pins.log_bid + a.POLICY_POPULARITY * np.log(pins.popularity), dtype=np.float32),
        )

    def serve(self, rng: np.random.Generator, users: Ints) -> Served:
        """The auction's winner for every request of `users` (R,)."""
        chunks = [self._serve_chunk(rng, users[at : at + CHUNK]) for at in range(0, len(users), CHUNK)]
        pins, affinities, bids = (np.concatenate(column) for column in zip(*chunks, strict=True))
        return Served(pins, affinities, bids)

    def _serve_chunk(self, rng: np.random.Generator, users: Ints) -> tuple[Ints, Floats, Floats]:
        """Rank by bid times predicted click rate. Only relative predictions matter, so there is no intercept."""
        candidates = self.candidates(rng, users, a.CANDIDATES)
        affinity = np.einsum("nck,nk->nc", self.pins.latent[candidates], self.users.latent[users])
        pacing = a.PACING_SIGMA * normal(rng, *candidates.shape)
        error = a.POLICY_NOISE * normal(rng, *candidates.shape)
        predicted = np.float32(a.POLICY_AFFINITY * a.CLICK_AFFINITY) * affinity + error
        winner = np.argmax(self.prior[candidates] + pacing + predicted, axis=1)
        rows = np.arange(len(users))
        pin = candidates[rows, winner]
        return pin, affinity[rows, winner], np.exp(self.pins.log_bid[pin] + pacing[rows, winner])

    def candidates(self, rng: np.random.Generator, users: Ints, count: int) -> Ints:
        """(R, count) pins, an even number, that retrieval finds for `users` (R,): half by popularity, half by topic."""
        half = (len(users), count // 2)
        popular = self.popular.draw(rng, 0, half)
        targeted = self.by_topic.draw(rng, self.users.draw_topics(rng, users, half[1]), half)
        return np.concatenate([popular, targeted], axis=1)
