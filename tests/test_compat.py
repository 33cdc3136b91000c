"""A test for each trap of torchbiggraph 1.0.0 that single-machine training meets (numbers as in docs/architecture.md)."""

import configparser
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchbiggraph.bucket_scheduling import SingleMachineBucketScheduler
from torchbiggraph.checkpoint_storage import CHECKPOINT_STORAGES, FileCheckpointStorage
from torchbiggraph.config import BucketOrder
from torchbiggraph.row_adagrad import RowAdagrad
from torchbiggraph.types import Side
from torchbiggraph.util import fast_approx_rand

from artifacts.errors import DataError
from artifacts.graph import load_graph
from pbg_transra.adagrad import HogwildAdagrad, HogwildRowAdagrad
from pbg_transra.compat import (
    AtomicCheckpointStorage,
    SeededBucketScheduler,
    initial_vectors,
    ordered_partitioned_types,
    prepare_worker,
    seamed,
)
from pbg_transra.config import ModelConfig
from pbg_transra.train import pbg_config
from tests.small_graphs import block_graph

REPOSITORY = Path(__file__).resolve().parents[1]


def test_trap_1_setuptools_still_has_pkg_resources() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    assert "setuptools<81" in setup["options"]["install_requires"]
    import pkg_resources

    assert pkg_resources


class LosesSums(Tensor):
    """A shared sum that another worker overwrites right after we added to it."""

    def index_add_(self, *arguments: object, **options: object) -> Tensor:
        return self


def longest_step(optimizer_class: type) -> float:
    """Length of a step on one row with gradient 100 and learning rate 0.1, when the addition to the sum is lost."""
    row = torch.nn.Parameter(torch.zeros(1, 4))
    optimizer = optimizer_class([row], lr=0.1)
    optimizer.state[row]["sum"] = optimizer.state[row]["sum"].as_subclass(LosesSums)
    row.grad = torch.sparse_coo_tensor(torch.tensor([[0]]), torch.full((1, 4), 100.0), (1, 4), is_coalesced=True)
    optimizer.step()
    return float(row.detach().norm())


def test_trap_3_a_lost_sum_amplifies_pbgs_step_and_not_ours() -> None:
    assert longest_step(RowAdagrad) > 1e6
    assert longest_step(HogwildRowAdagrad) == pytest.approx(0.1 * 4**0.5)


def test_without_a_race_our_adagrads_are_pbgs() -> None:
    """Row-wise: PBG's own. By component: torch's."""
    torch.manual_seed(0)
    for ours, theirs in ((HogwildRowAdagrad, RowAdagrad), (HogwildAdagrad, torch.optim.Adagrad)):
        pair = [torch.nn.Parameter(torch.ones(6, 3)) for _ in range(2)]
        optimizers = [ours([pair[0]], lr=0.1), theirs([pair[1]], lr=0.1)]
        for _ in range(3):
            rows = torch.tensor([0, 2, 2, 5])
            weights = torch.randn(4, 3)
            for parameter, optimizer in zip(pair, optimizers, strict=True):
                optimizer.zero_grad()
                sparse = ours is HogwildRowAdagrad
                picked = torch.nn.functional.embedding(rows, parameter, sparse=sparse)
                (picked * weights).sum().backward()
                optimizer.step()
        torch.testing.assert_close(pair[0], pair[1])


def test_trap_5_no_worker_is_delayed(tmp_path: Path) -> None:
    block_graph(tmp_path)
    assert schema(tmp_path).hogwild_delay == 0


def test_trap_6_first_vectors_do_not_repeat_a_block() -> None:
    rows = 1_000_003  # PBG's block is as many numbers long
    theirs = fast_approx_rand(2 * rows)
    assert torch.equal(theirs[:rows], theirs[rows:])
    ours, _ = initial_vectors(torch.Generator().manual_seed(0), "user", 2 * rows, 1, 0.5)
    assert ours.is_shared()
    assert not torch.equal(ours[:rows], ours[rows:])
    assert float(ours.std()) == pytest.approx(0.5, rel=0.01)


def test_trap_7_a_resume_takes_the_configs_learning_rate() -> None:
    saved = HogwildRowAdagrad([torch.zeros(2, 2)], lr=0.5)
    saved.state[saved.param_groups[0]["params"][0]]["sum"] += 3
    loaded = HogwildRowAdagrad([torch.zeros(2, 2)], lr=0.1)
    loaded.load_state_dict(saved.state_dict())
    parameter = loaded.param_groups[0]["params"][0]
    assert loaded.param_groups[0]["lr"] == 0.1
    assert loaded.state[parameter]["sum"].tolist() == [3, 3]


def test_trap_7_an_empty_version_file_is_not_version_0(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_version.txt").touch()
    assert FileCheckpointStorage(str(tmp_path)).load_version() == 0
    storage = CHECKPOINT_STORAGES.make_instance(f"transra://{tmp_path}")
    assert isinstance(storage, AtomicCheckpointStorage)
    with pytest.raises(DataError, match="checkpoint_version.txt: empty"):
        storage.load_version()
    storage.save_version(7)
    assert storage.load_version() == 7


def test_trap_7_no_edge_is_withheld(tmp_path: Path) -> None:
    block_graph(tmp_path)
    assert schema(tmp_path).eval_fraction == 0


def test_trap_8_bucket_order_is_seeded() -> None:
    def order(seed: int) -> list[object]:
        scheduler = SeededBucketScheduler(random.Random(seed), 4, 4, BucketOrder.INSIDE_OUT)
        scheduler.new_pass(is_first=True)
        return list(scheduler.buckets)

    assert order(1) == order(1) != order(2)


def test_trap_8_types_come_in_one_order(tmp_path: Path) -> None:
    block_graph(tmp_path)
    assert ordered_partitioned_types(schema(tmp_path), Side.LHS) == (2, ["user"])


def test_trap_8_workers_are_seeded_by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: type("Libc", (), {"prctl": staticmethod(lambda *_: 0)}))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    strategy = torch.multiprocessing.get_sharing_strategy()
    draws = []
    for index in (0, 0, 1):
        monkeypatch.setattr("pbg_transra.compat.worker_index", lambda _, index=index: index)
        prepare_worker(5, 2)
        draws.append(float(torch.rand(1)))
    torch.multiprocessing.set_sharing_strategy(strategy)
    assert draws[0] == draws[1] != draws[2]


def test_the_seam_is_undone() -> None:
    import torchbiggraph.train

    before = (torch.get_num_threads(), torch.multiprocessing.get_sharing_strategy())
    with pytest.raises(ValueError, match="within"), seamed(0):
        assert torchbiggraph.train.RowAdagrad is HogwildRowAdagrad
        raise ValueError("within")
    assert torchbiggraph.train.RowAdagrad is RowAdagrad
    assert torchbiggraph.train.SingleMachineBucketScheduler is SingleMachineBucketScheduler
    assert before == (torch.get_num_threads(), torch.multiprocessing.get_sharing_strategy())


def schema(directory: Path) -> object:
    settings = ModelConfig(operator="transr")
    return pbg_config(load_graph(directory), directory, "checkpoint", settings, 1)
