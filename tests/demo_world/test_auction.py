"""The demo world's auction, held to a loop in plain Python; and what a simulation says of rankings that are known."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from demo_world import DemoDataError, WorldParameters, generate
from demo_world.auctions.auction import auction
from demo_world.auctions.requests import CANDIDATES, Requests, draw_requests, repeated
from demo_world.auctions.simulation import Simulation
from demo_world.generation import existing_world
from demo_world.parameters import START
from demo_world.population.serving import Served
from demo_world.population.world import World
from demo_world.sampling import seeded, sigmoid

USERS = 500
RESERVE = 0.5


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo") / "world"
    generate(directory, WorldParameters(users=USERS, impressions=2000, days=2, seed=3), processes=1)
    return directory


@pytest.fixture(scope="module")
def world(directory: Path) -> World:
    return existing_world(directory)


def asked(world: World, count: int, seed: int = 0) -> Requests:
    rng = seeded(seed, 0)
    user = rng.integers(0, USERS, count).astype(np.int32)
    return draw_requests(world, rng, user, np.full(count, 1, np.int32), np.full(count, 20, np.int32))


def by_hand(bids: list[float], rates: list[float], reserve: float) -> tuple[int, float] | None:
    """The winner and what it pays for a click."""
    worth = [(bid * rate, -place) for place, (bid, rate) in enumerate(zip(bids, rates, strict=True)) if bid >= reserve]
    if not worth:
        return None
    first, *others = sorted(worth, reverse=True)
    second = max((value for value, _ in others), default=0.0)
    return -first[1], max(reserve, second / rates[-first[1]])


@pytest.mark.parametrize("values", [(0.2, 0.5, 1.0, 2.0), tuple(np.linspace(0.1, 1.5, 50))], ids=["ties", "few ties"])
def test_the_auction_is_that_of_a_loop(values: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    bid, rate = rng.choice(values, (3000, 4)), rng.choice([0.01, 0.02, 0.04], (3000, 4))
    found = auction(bid, rate, RESERVE)
    nobody = 0
    for row in range(len(bid)):
        expected = by_hand(bid[row].tolist(), rate[row].tolist(), RESERVE)
        if expected is None:
            nobody += 1
            assert not found.won[row] and found.price[row] == 0
            continue
        winner, price = expected
        assert found.won[row] and found.winner[row] == winner
        assert found.price[row] == pytest.approx(price) and RESERVE <= found.price[row] <= bid[row, winner]
    assert nobody > 0, "the reserve kept some places empty"


def test_a_second_price_is_paid_and_a_lone_bid_pays_the_reserve() -> None:
    bid, rate = np.array([[2.0, 1.0, 0.9], [2.0, 0.4, 0.3]]), np.array([[0.02, 0.03, 0.01]] * 2)
    found = auction(bid, rate, RESERVE)
    assert found.winner.tolist() == [0, 0] and found.price.tolist() == pytest.approx([1.5, 0.5])


def test_a_pin_that_was_found_twice_bids_once(world: World) -> None:
    pin = np.array([[3, 1, 3, 2, 1, 3]], np.int32)
    assert repeated(pin).tolist() == [[False, False, True, False, True, True]]
    requests = asked(world, 2000)
    assert requests.pin.shape == (2000, CANDIDATES)
    bids, again = requests.bid, repeated(requests.pin)
    assert again.any() and not bids[again].any() and (bids[~again] > 0).all()
    for row in range(50):
        assert len(set(requests.pin[row][bids[row] > 0])) == len(set(requests.pin[row]))


def test_the_true_rates_are_those_of_the_log(world: World, directory: Path) -> None:
    (shown,) = (pq.read_table(path) for path in (directory / "impressions").glob("*.parquet"))
    (truth,) = (pq.read_table(path) for path in (directory / "truth").glob("*.parquet"))
    user, pin = (np.array([int(one[1:]) for one in shown[name].to_pylist()]) for name in ("user_id", "pin_id"))
    hour = (np.array(shown["ts"]) - START) % 86_400 // 3600
    affinity = np.einsum("nk,nk->n", world.users.latent[user], world.pins.latent[pin])
    logit = world.response.click_logit(user, Served(pin, affinity, affinity), np.array(shown["position"]), hour)
    np.testing.assert_allclose(sigmoid(logit), np.array(truth["p_click"]), rtol=1e-5)


def test_rankings_that_agree_have_a_lift_of_exactly_nothing(world: World) -> None:
    requests = asked(world, 3000)
    rng = np.random.default_rng(0)
    rates = [rng.uniform(0.001, 0.02, requests.pin.shape) for _ in range(3)]
    simulation = Simulation(USERS, RESERVE)
    simulation.add(requests, {"none": rates, "same": [2 * one for one in rates]})  # a factor changes no order
    against = simulation.report(["none"], 50, 0)["arms"]["same"]["against"]["none"]
    for by in ("draws", "true_rates"):
        for found in against[by].values():
            assert found["value"] == 0 and found["interval"] == [0, 0]


def test_the_oracle_is_ahead_of_all_and_a_planted_better_arm_of_a_worse_one(world: World) -> None:
    simulation = Simulation(USERS, RESERVE)
    rng = np.random.default_rng(1)
    for part in range(4):
        requests = asked(world, 5000, part)
        noisy = {name: requests.p_click * np.exp(s * rng.standard_normal(requests.pin.shape)) for name, s in
                 (("none", 1.0), ("better", 0.3))}  # fmt: skip
        simulation.add(requests, {name: [one] for name, one in noisy.items()})
    found = simulation.report(["none"], 100, 0)["arms"]
    assert found["oracle"]["regret"] == {"value": 0, "interval": [0, 0]}
    assert found["none"]["regret"]["value"] > found["better"]["regret"]["value"] > 0
    ctr = {name: arm["true_rates"]["ctr"]["value"] for name, arm in found.items()}
    assert ctr["oracle"] > ctr["better"] > ctr["none"]
    lift = found["better"]["against"]["none"]["true_rates"]["ctr_lift"]
    assert 0 < lift["interval"][0] < lift["value"] < lift["interval"][1]
    drawn = found["better"]["draws"]["ctr"]
    assert drawn["interval"][0] < ctr["better"] < drawn["interval"][1], "draws follow the rates"
    for arm in found.values():
        assert RESERVE < arm["draws"]["cpc"]["value"] < 5


def test_the_same_seed_gives_the_same_report(world: World) -> None:
    def report(seed: int) -> dict:
        simulation, requests = Simulation(USERS, RESERVE), asked(world, 1000, seed)
        simulation.add(requests, {"none": [requests.p_click + 0.001]})
        return simulation.report(["none"], 20, seed)

    assert report(0) == report(0) != report(1)


def test_without_a_click_there_is_no_price(world: World) -> None:
    requests = asked(world, 2)
    never = Requests(**{**vars(requests), "click_draw": np.ones(2)})
    simulation = Simulation(USERS, RESERVE)
    simulation.add(never, {"none": [never.p_click]})
    found = simulation.report([], 20, 0)["arms"]["none"]["draws"]
    assert found["cpc"] == {"value": None, "interval": None} and found["ctr"]["value"] == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: "{}", "no demo world"),
        (lambda text: text.replace('"generator_version": 1', '"generator_version": 99'), "version 99"),
        (lambda text: text.replace('"seed": 3', '"seed": 4'), "not what the seed"),
    ],
)
def test_what_is_no_world_of_ours(directory: Path, tmp_path: Path, change, told: str) -> None:
    (tmp_path / "truth").mkdir()
    latents = "truth/user_latents.npy"
    (tmp_path / latents).write_bytes((directory / latents).read_bytes())
    (tmp_path / "world.json").write_text(change((directory / "world.json").read_text()))
    with pytest.raises(DemoDataError, match=told):
        existing_world(tmp_path)
