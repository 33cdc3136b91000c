"""`model.freeze`: what a warm training holds stays bit by bit, whatever trains, and is as free as before afterwards."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbg_transra.config import FreezeConfig, ModelConfig
from pbg_transra.pbg.checkpoint import Checkpoint
from pbg_transra.start.from_run import adopt_run
from pbg_transra.start.published import PublishedModel
from tests.worlds.warm_world import GROUPS, USERS, WARM, by_id, trained

HOLDS = FreezeConfig(types=("pin",), relations=("save",))


def parameters(directory: Path, relation: int) -> dict[str, np.ndarray]:
    return Checkpoint(directory).relation_parameters(relation)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"processor": "reference"},
        {"checkpoint_seconds": 1e-9},
        {"max_drift": 0.05},
        {"workers": 2, "overlap": False},
        {"validate_every": 1},
        {"regularization": 0.1},
    ],
    ids=str,
)
def test_what_is_frozen_keeps_its_bits(
    yesterday: PublishedModel, today: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = WARM.model_copy(update={"freeze": HOLDS, "epochs": 2, **changes})
    adopt_run(yesterday, today, config, tmp_path)
    trained(today, tmp_path, config)
    for kind, moves in (("user", True), ("pin", False)):
        before, after = by_id(yesterday.graph_dir, yesterday.model_dir, kind), by_id(today, tmp_path, kind)
        changed = [not np.array_equal(after[id][0], vector) for id, (vector, _) in before.items()]
        assert all(changed) if moves else not any(changed)
        if not moves:
            assert all(after[id][1] == total for id, (_, total) in before.items()), "and its sums"
    for relation, moves in ((0, True), (1, False)):
        before, after = (parameters(directory, relation) for directory in (yesterday.model_dir, tmp_path))
        assert all(np.array_equal(after[name], values) for name, values in before.items()) != moves
    assert not (tmp_path / "start").exists()


def test_new_entities_of_a_frozen_type_train(yesterday: PublishedModel, today: Path, tmp_path: Path) -> None:
    config = WARM.model_copy(update={"freeze": FreezeConfig(types=("user",))})
    adopt_run(yesterday, today, config, tmp_path / "start")
    adopt_run(yesterday, today, config, tmp_path / "trained")
    trained(today, tmp_path / "trained", config)
    known = by_id(yesterday.graph_dir, yesterday.model_dir).keys()
    before, after = by_id(today, tmp_path / "start"), by_id(today, tmp_path / "trained")
    moved = {id for id, (vector, _) in before.items() if not np.array_equal(after[id][0], vector)}
    assert moved == before.keys() - known and len(moved) == USERS - 48


def test_others_learn_beside_what_is_frozen(yesterday: PublishedModel, today: Path, tmp_path: Path) -> None:
    """The frozen half does not hold the loss up: new users find their group."""
    config = WARM.model_copy(update={"freeze": HOLDS, "epochs": 6})
    adopt_run(yesterday, today, config, tmp_path)
    trained(today, tmp_path, config)
    users, pins = by_id(today, tmp_path), by_id(today, tmp_path, "pin")
    items = np.array([pins[id][0] for id in sorted(pins, key=lambda id: int(id[1:]))])
    new = {id: vector for id, (vector, _) in users.items() if int(id[1:]) >= 48}
    moved = parameters(tmp_path, 0)["translation"].ravel()
    scores = {id: items @ (vector + moved) / np.linalg.norm(items, axis=1) for id, vector in new.items()}
    right = [int(found.argmax()) % GROUPS == int(id[1:]) % GROUPS for id, found in scores.items()]
    assert np.mean(right) > 0.8


def test_a_first_night_has_nothing_to_freeze(today: Path, tmp_path: Path) -> None:
    trained(today, tmp_path, WARM.model_copy(update={"freeze": HOLDS, "epochs": 1}))
    assert (tmp_path / "checkpoint_version.txt").read_text() == "1\n"


def problems(**changes: Any) -> list[str]:
    config = ModelConfig(**{"anchors": ("click",), "warm_start": "latest", **changes})
    return [f"{'.'.join(map(str, problem.path))}: {problem.message}" for problem in config.problems()]


def test_what_makes_no_sense_is_refused() -> None:
    assert problems(freeze=HOLDS) == []
    (line,) = problems(freeze=HOLDS, warm_start=None)
    assert line == "freeze: it holds what a published run has; expected warm_start"
    (line,) = problems(freeze=FreezeConfig())
    assert line.startswith("freeze: names neither types nor relations")
