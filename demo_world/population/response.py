"""How people answer an impression: the world's true probabilities."""

from dataclasses import dataclass

import numpy as np

from demo_world import assumptions as a
from demo_world.population.entities import Items, Pins, Users
from demo_world.population.serving import Served
from demo_world.sampling import Floats, Ints

FORMAT_EFFECT = np.array(a.FORMAT_EFFECTS, dtype=np.float32)
DEVICE_EFFECT = np.array(a.DEVICE_EFFECTS, dtype=np.float32)


def draw_position(rng: np.random.Generator, count: int) -> Ints:
    """(count,) places in the feed, from 1."""
    return rng.integers(1, a.POSITIONS + 1, count, dtype=np.int32)


@dataclass(frozen=True)
class Intercepts:
    """What calibration adds to the logits so that the served traffic has the rates of `assumptions`."""

    click: float = 0.0
    save: float = 0.0
    hide: float = 0.0
    conversion: float = 0.0


@dataclass(frozen=True)
class Response:
    users: Users
    pins: Pins
    items: Items
    intercepts: Intercepts

    def click_logit(self, users: Ints, served: Served, position: Ints, hour: Ints) -> Floats:
        """(R,) log odds of a click on ad `served` at `position` (from 1) in UTC `hour`."""
        person = self.users.propensity[users] + DEVICE_EFFECT[self.users.device[users]]
        ad = self.pins.quality[served.pin] + FORMAT_EFFECT[self.pins.format[served.pin]]
        place = np.float32(a.POSITION_EFFECT) * (position - 1).astype(np.float32)
        evening = np.float32(a.HOUR_EFFECT) * np.cos((hour - 20).astype(np.float32) * np.float32(np.pi / 12))
        affinity = np.float32(a.CLICK_AFFINITY) * served.affinity
        return _single(self.intercepts.click + affinity + person + ad + place + evening)

    def save_logit(self, served: Served) -> Floats:
        return _single(self.intercepts.save + np.float32(a.SAVE_AFFINITY) * served.affinity)

    def hide_logit(self, served: Served) -> Floats:
        return _single(self.intercepts.hide + np.float32(a.HIDE_AFFINITY) * served.affinity)

    def conversion_logit(self, users: Ints, pins: Ints) -> Floats:
        """(R,) log odds that a click on `pins` by `users` leads to a conversion within the attribution window.

        It follows the item behind the ad and the person's purchase intent, which offsite events show best.
        """
        item = self.pins.item[pins]
        affinity = np.einsum("rk,rk->r", self.users.latent[users], self.items.latent[item])
        appeal = np.float32(a.CONVERSION_APPEAL) * np.log(self.items.appeal[item])
        intent = np.float32(a.CONVERSION_INTENT) * self.users.intent[users]
        taste = np.float32(a.CONVERSION_AFFINITY) * affinity
        return _single(self.intercepts.conversion + taste + intent + appeal)


def _single(values: Floats) -> Floats:
    return np.asarray(values, dtype=np.float32)
