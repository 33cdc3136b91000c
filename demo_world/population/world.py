"""The whole world before anything has happened in it, drawn and calibrated from its seed."""

from dataclasses import dataclass

from demo_world.parameters import WorldParameters
from demo_world.population.calibration import calibrated_response, prior_click_rate
from demo_world.population.entities import (
    Advertisers,
    Items,
    Pins,
    Users,
    draw_advertisers,
    draw_items,
    draw_pins,
    draw_topics,
    draw_users,
)
from demo_world.population.response import Response
from demo_world.population.serving import ServingPolicy
from demo_world.sampling import Floats, QuantileTable, grouped_table, seeded, single_table

ENTITIES, CALIBRATION, PRIOR_MONTH, BLOCKS = range(4)  # branches of the seed


@dataclass(frozen=True)
class World:
    parameters: WorldParameters
    users: Users
    advertisers: Advertisers
    items: Items
    pins: Pins
    policy: ServingPolicy
    response: Response
    items_popular: QuantileTable
    items_by_topic: QuantileTable
    pin_prior_ctr: Floats  # (P,)


def create_world(parameters: WorldParameters) -> World:
    rng = seeded(parameters.seed, ENTITIES)
    sizes = parameters.sizes
    topics = draw_topics(rng, sizes)
    users = draw_users(rng, parameters, topics)
    advertisers = draw_advertisers(rng, sizes, topics)
    items = draw_items(rng, sizes, topics, advertisers)
    pins = draw_pins(rng, sizes, advertisers, items)
    policy = ServingPolicy.of(users, pins)
    response = calibrated_response(seeded(parameters.seed, CALIBRATION), policy, items)
    return World(
        parameters=parameters,
        users=users,
        advertisers=advertisers,
        items=items,
        pins=pins,
        policy=policy,
        response=response,
        items_popular=single_table(items.appeal),
        items_by_topic=grouped_table(items.topic, items.appeal),
        pin_prior_ctr=prior_click_rate(seeded(parameters.seed, PRIOR_MONTH), policy, response),
    )
