"""Tables whose rows several processes hold: each its share, together what one process would have."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from artifacts.embeddings import Embeddings
from ranker.config.arms import ARMS
from ranker.data.records import Split, Summary
from ranker.model.ranker_model import RankerModel
from ranker.model.tables.table import Table, drawn
from ranker.processes import blocks, group
from ranker.processes.blocks import block_of, whole
from ranker.training.optimizers import RowwiseAdagrad
from ranker.training.trainer import Training
from tests.worlds.processes import in_processes
from tests.worlds.small_impressions import SmallWorld, config, prepared, small_world

ARMS_WITH_TABLES = ("init_finetune", "attention")


@pytest.mark.parametrize(("rows", "dim"), [(4096, 4), (70_001, 1), (200_000, 3), (5, 3), (2, 16)])
def test_every_block_is_drawn_as_if_it_were_the_whole_table(rows: int, dim: int) -> None:
    torch.manual_seed(3)
    expected, after = 0.01 * torch.randn(rows, dim), torch.rand(2)
    for block in (range(rows), range(rows // 3, rows - 1), range(rows, rows)):
        torch.manual_seed(3)
        assert torch.equal(drawn(rows, dim, 0.01, block), expected[block.start : block.stop])
        assert torch.equal(torch.rand(2), after)


@pytest.mark.parametrize("rows", [2, 7, 9])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_row_has_one_owner(rows: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "count", lambda: count)
    held = [block_of(rows, one) for one in range(count)]
    assert [row for block in held for row in block] == list(range(rows))
    assert max(map(len, held)) == -(-rows // count)


STEPS = 3


def trained(table: Table, part: slice, processes: int) -> tuple[Tensor, Tensor]:
    """Vectors and sums of a block after steps on a part of each batch of look-ups, two in a step."""
    optimizer, generator = RowwiseAdagrad([table.parameter], lr=0.1), torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = torch.zeros(())
        for _ in range(2):
            rows = torch.randint(0, table.rows, (8, 2), generator=generator)[part]
            weights = torch.randn(8, 2, 3, generator=generator)[part]
            loss = loss + (table(rows) * weights).sum()
        (loss * processes).backward()
        table.collect_gradient_()
        optimizer.step()
    return table.parameter.detach(), optimizer.state[table.parameter]["sum"]


@pytest.mark.parametrize("rows", [2, 7, 40])  # of two rows, the third process has none
def test_processes_take_the_steps_of_one_and_hold_their_share(rows: int, tmp_path: Path) -> None:
    values = torch.randn(rows, 3, generator=torch.Generator().manual_seed(1))

    def one_of_three() -> tuple[Any, ...]:
        block = block_of(rows)
        vectors, sums = trained(Table(rows, values[block.start : block.stop].clone()), slice(group.place(), None, 3), 3)
        return vectors.numpy(), sums.numpy()

    vectors, sums = trained(Table(rows, values.clone()), slice(None), 1)
    found = in_processes(3, tmp_path / "meeting", one_of_three)
    share = -(-rows // 3)
    assert [len(of_one) for of_one, _ in found] == [min(share, max(rows - share * one, 0)) for one in range(3)]
    assert [len(of_one) for of_one, _ in found] == [len(of_one) for _, of_one in found]
    assert np.allclose(np.concatenate([of_one for of_one, _ in found]), vectors, atol=1e-6)
    assert np.allclose(np.concatenate([of_one for _, of_one in found]), sums, atol=1e-5)
    assert not torch.equal(vectors, values)


def test_a_table_is_whole_in_the_first_process_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "CHUNK_BYTES", 40)
    table, sums = torch.arange(33.0).view(11, 3), torch.arange(11.0)

    def gathered() -> dict[str, Any]:
        block = block_of(11)
        held = {"table": (table[block.start : block.stop], 11), "sums": (sums[block.start : block.stop], 11)}
        with whole(held, tmp_path) as found:
            return {name: one.clone().numpy() for name, one in found.items()}

    first, *others = in_processes(3, tmp_path / "meeting", gathered)
    assert np.array_equal(first["table"], table) and np.array_equal(first["sums"], sums)
    assert others == [{}, {}]
    assert [path.name for path in tmp_path.iterdir()] == ["meeting"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    torch.set_num_threads(1)
    return small_world(tmp_path_factory.mktemp("blocks"), rows=3000)


@pytest.fixture(scope="module")
def summary(world: SmallWorld) -> Summary:
    return prepared(world)


class _Killed(Exception):
    pass


def new_training(world: SmallWorld, summary: Summary, arm: str, directory: Path) -> Training:
    settings = config(
        training={"batch_size": 128 // group.count(), "eval_every": 4}, backbone={"hidden": [16], "dropout": 0.2}
    )
    torch.manual_seed(0)
    model = RankerModel(settings, ARMS[arm], summary, Embeddings(world.export))
    return Training(model, settings, 0, 0, directory)


def train(world: SmallWorld, summary: Summary, arm: str, directory: Path, last: int | None = None) -> Training:
    """A training, which ends as a kill would after the validation at step `last`."""
    splits = (Split.of(world.root / "prepared", name, summary) for name in ("train", "valid"))

    def validated(step: int, steps: int, metrics: Any) -> None:
        if step == last:
            raise _Killed

    training = new_training(world, summary, arm, directory)
    with suppress(_Killed):
        training.run(*splits, lambda done, last: None, validated)
    return training


@pytest.mark.parametrize("arm", ARMS_WITH_TABLES)
def test_a_killed_training_of_two_resumes_with_blocks_of_whole_files(
    world: SmallWorld, summary: Summary, arm: str, tmp_path: Path
) -> None:
    def one_of_two() -> tuple[int, dict[str, Any]]:
        for name in ("undisturbed", "killed"):
            (tmp_path / name).mkdir(exist_ok=True)
        train(world, summary, arm, tmp_path / "undisturbed")
        train(world, summary, arm, tmp_path / "killed", last=8)
        training = train(world, summary, arm, tmp_path / "killed")
        held = {id(table.parameter) for table in training.tables}
        of_tables = [p for optimizer in training.trained.optimizers for p in optimizer.state if id(p) in held]
        sums = [optimizer.state[p]["sum"] for optimizer in training.trained.optimizers[1:] for p in optimizer.state]
        return sum(map(bytes_of, of_tables)) + sum(map(bytes_of, sums)), training.model.budget()

    first, second = in_processes(2, tmp_path / "meeting", one_of_two)
    one = new_training(world, summary, arm, tmp_path / "undisturbed")
    one.trained.resume_(one.directory, one.device)
    tables = sum(bytes_of(table.parameter) + table.rows * 4 for table in one.tables)
    assert first[0] + second[0] == tables
    assert abs(first[0] - second[0]) <= 2 * len(one.tables) * (4 * 8 + 4), "a row of each table"
    assert first[1] == second[1] == one.model.budget()
    whole, resumed = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("undisturbed", "killed"))
    assert whole["progress"]["step"] == resumed["progress"]["step"] > 8
    for name, parameter in one.model.state_dict().items():
        assert torch.equal(whole["model"][name], resumed["model"][name])
        assert torch.equal(whole["model"][name], parameter)


def bytes_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()
