"""The plan of a ranking: the largest of its steps, and what each key that costs memory adds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.embeddings import Embeddings
from ranker.config.arms import ARMS
from ranker.data.ids.slots import Layout
from ranker.data.log.impression_log import BLOCK_ROWS
from ranker.model.ranker_model import RankerModel
from ranker.plan import BUFFERS, JUDGED, JUDGED_SEED, PROCESS, TOKEN, plan_rows
from ranker.scoring.manifest import PREDICTIONS
from tests.worlds.small_impressions import SLOTS, config, prepared, small_world

ROWS = 1 << 20
SMALL = {"batch_size": 1, "buffer_rows": 1}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Embeddings]:
    return [Embeddings(small_world(tmp_path_factory.mktemp("world"), 300).export)]


def memory(exports: list[Embeddings], rows: int = ROWS, arm: str = "none", **changes: Any) -> int:
    return plan_rows(config(arms={arm: ARMS[arm]}, **changes), rows, exports).memory


def slots(cap: int) -> dict[str, Any]:
    return {**SLOTS, "recent": {**SLOTS["recent"], "cap": cap}}


def test_a_block_costs_by_its_ids(exports) -> None:
    """A record has 8 bytes of an id: its hash and the row of the one export."""
    long, longer = (memory(exports, slots=slots(cap), training=SMALL) for cap in (500, 501))
    assert longer - long == BLOCK_ROWS * (TOKEN + 8)
    assert memory(exports, 10, slots=slots(500), training=SMALL) < long / 2, "a log of ten rows has no such block"


def test_the_judge_costs_by_the_rows_of_the_test_window(exports) -> None:
    many = 100 * ROWS
    for split, share in (({}, 0.2), ({"test": 0.5}, 0.5), ({"valid_from": 1, "test_from": 2}, 0.2)):
        for seeds in ((0,), (0, 1, 2)):
            found = memory(exports, many, split=split, training={**SMALL, "seeds": seeds})
            assert found == PROCESS + int(many * share) * (JUDGED + JUDGED_SEED * len(seeds))


def test_the_buffer_and_the_batch_cost_by_their_rows(exports) -> None:
    record = (
        plan_rows(config(arms={"none": ARMS["none"]}), 1000, exports).disk
        - plan_rows(config(arms={"none": ARMS["none"]}), 999, exports).disk
    )
    one, other = (memory(exports, training={"batch_size": 1, "buffer_rows": rows}) for rows in (1 << 19, 1 << 20))
    assert other - one == BUFFERS * record * (1 << 19)
    assert memory(exports, training={"batch_size": 1, "buffer_rows": 1 << 30}) == other, "the log has no more rows"


@pytest.mark.parametrize("arm", ARMS)
def test_a_larger_batch_costs_every_arm(exports, arm: str) -> None:
    sizes = [
        memory(exports, arm=arm, training={"batch_size": 1 << power, "buffer_rows": 1 << 19}) for power in (16, 17, 18)
    ]
    assert sizes[2] - sizes[1] == 2 * (sizes[1] - sizes[0]) > 0


@pytest.mark.parametrize("cap", [5, 200])
def test_a_small_batch_costs_what_is_predicted_together(exports, cap: int) -> None:
    """Long lists are predicted with fewer rows, or their vectors would take more than those of any training."""
    settings = config(slots=slots(cap))
    rows = Layout.of(settings).predicted_rows
    assert rows * (cap + 3) <= 1 << 18
    one, same, larger = (
        memory(exports, arm="attention", slots=slots(cap), training={"batch_size": size, "buffer_rows": 1 << 19})
        for size in (1, rows, 2 * rows)
    )
    assert one == same < larger


@pytest.mark.parametrize(
    ("arm", "change"),
    [
        ("id_only", {"ids": {"rows": 1 << 24, "dim": 4}}),
        ("none", {"backbone": {"hidden": [1 << 14, 1 << 12]}}),
        ("none", {"heads": {"kind": "mmoe", "experts": 900}, "training": {"batch_size": 1 << 14}}),
        ("attention", {"attention": {"width": 4096, "heads": 2, "groups": 4}}),
    ],
)
def test_what_is_larger_is_planned_larger(exports, arm: str, change: dict[str, Any]) -> None:
    assert memory(exports, arm=arm, **change) > memory(exports, arm=arm) + (100 << 20)


def test_the_largest_arm_counts_once(exports) -> None:
    ids = {"rows": 1 << 24, "dim": 4}
    both = plan_rows(config(arms={name: ARMS[name] for name in ("none", "id_concat")}, ids=ids), ROWS, exports)
    assert both.memory == memory(exports, arm="id_concat", ids=ids) > memory(exports, arm="none", ids=ids)


def test_counts_cost_disk_by_their_number(exports) -> None:
    """80 bytes of a row lie in their tables, and a record has four more of each of their five numerics."""
    arms = {"none": ARMS["none"]}
    one, two = (
        plan_rows(config(arms=arms, counts=counts), ROWS, exports).disk
        - plan_rows(config(arms=arms, counts=counts), ROWS - 1, exports).disk
        for counts in ([["pin_id"]], [["pin_id"], ["user_id", "pin_id"]])
    )
    assert two - one == 80 + 5 * 4


def test_counts_cost_the_memory_in_which_they_are_collected(exports) -> None:
    many = tuple((f"column_{index}",) for index in range(99))
    one, all_of_them = (memory(exports, 10 * ROWS, counts=counts, training=SMALL) for counts in (many[:1], many))
    assert one - PROCESS < all_of_them - PROCESS and all_of_them - PROCESS >= 2 * 40 * 100 * (1 << 16)
    assert memory(exports, 10, counts=many, training=SMALL) < all_of_them / 2, "ten rows are not many"


@pytest.mark.parametrize("heads", [{"kind": "shared_bottom"}, {"kind": "mmoe", "experts": 3}], ids=["shared", "mmoe"])
def test_a_network_of_many_numbers_is_as_large_as_planned(tmp_path: Path, heads: dict[str, Any]) -> None:
    """Each is seen as it is and as ramps: two columns of each were planned, a third of what there was."""
    world, names = small_world(tmp_path, rows=300), [f"n{index}" for index in range(40)]
    world.write(**{name: np.random.default_rng(0).normal(size=300) for name in names})
    numerics = dict.fromkeys(names, "linear")
    settings = {"categoricals": [], "numerics": numerics, "heads": heads, "backbone": {"hidden": [256]}}
    summary, export = prepared(world, config(**settings)), Embeddings(world.export)
    for name in ("none", "frozen_concat", "attention_no_id"):  # those without tables
        one, two = (
            plan_rows(config(arms={name: ARMS[name]}, training={"seeds": seeds}, **settings), 300, [export]).disk
            for seeds in ([0], [0, 1])
        )
        planned = (two - one) / len(PREDICTIONS)  # the weights that are best at each task, of a seed
        model = RankerModel(config(**settings), ARMS[name], summary, export)
        assert planned == pytest.approx(4 * model.budget()["network"], rel=0.15)
