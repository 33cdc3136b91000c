"""A test for each trap of torchbiggraph 1.0.0 that single-machine training meets; numbers: docs/architecture.md."""

import configparser
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import pytest
import torch
from torch import Tensor
from torchbiggraph.config import ConfigSchema
from torchbiggraph.row_adagrad import RowAdagrad

from artifacts.formats.graph import load_graph
from pbg_transra.backends.adagrad import HogwildAdagrad, HogwildRowAdagrad
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.checkpoint import Checkpoint
from pbg_transra.pbg.schema import pbg_config
from pbg_transra.reports import BucketDone
from pbg_transra.training.train import train
from tests.worlds.small_graphs import block_graph

REPOSITORY = Path(__file__).resolve().parents[3]


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


def longest_step(optimizer_class: Any) -> float:
    """Length of a step on one row with gradient 100 and learning rate 0.1, when the addition to the sum is lost."""
    row = torch.nn.Parameter(torch.zeros(1, 4))
    optimizer = optimizer_class([row], lr=0.1)
    sums, key = (optimizer.state[row], "sum") if optimizer_class is RowAdagrad else (optimizer.sums, row)
    sums[key] = sums[key].as_subclass(LosesSums)
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
                parameter.grad = None
                sparse = ours is HogwildRowAdagrad
                picked = torch.nn.functional.embedding(rows, parameter, sparse=sparse)
                (picked * weights).sum().backward()
                optimizer.step()
        torch.testing.assert_close(pair[0], pair[1])


def test_a_training_does_not_import_torchs_compiler(tmp_path: Path) -> None:
    """The first torch.optim.Optimizer of a process imports it, which took more than all else before a first batch."""
    block_graph(tmp_path)
    (tmp_path / "model").mkdir()
    code = """if True:
        import sys
        from pathlib import Path
        from pbg_transra.config import ModelConfig
        from pbg_transra.training.train import train

        config = ModelConfig(operator="transr", dimension=4, epochs=1, workers=1)
        train(Path("."), Path("model"), config, lambda progress: None, lambda bucket: None)
        print("torch" in sys.modules, "torch._dynamo" in sys.modules)
    """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"], done.stderr


def buckets_of(directory: Path, epochs: int) -> list[BucketDone]:
    block_graph(directory, partitions=4)
    done: list[BucketDone] = []
    (directory / "model").mkdir()
    config = ModelConfig(operator="transr", dimension=4, epochs=epochs, workers=1)
    train(directory, directory / "model", config, lambda progress: None, done.append)
    return done


def test_traps_5_7_and_8_every_edge_is_trained_in_a_seeded_order(tmp_path: Path) -> None:
    """PBG waits (hogwild_delay), withholds the same edges for ever (eval_fraction) and shuffles buckets unseeded."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = buckets_of(tmp_path / "a", 2), buckets_of(tmp_path / "b", 2)
    graph = load_graph(tmp_path / "a")
    assert sum(bucket.edges for bucket in one) == 2 * graph.edges("train")
    order = [bucket.bucket for bucket in one]
    assert order == [bucket.bucket for bucket in other]
    assert order[:16] != order[16:], "each pass has an order of its own"
    assert len(set(order)) == 16


def test_trap_7_a_resume_takes_the_configs_learning_rate(tmp_path: Path) -> None:
    """PBG's optimisers take over the rate that stands beside saved sums."""
    graph, model = block_graph(tmp_path), tmp_path / "model"
    model.mkdir()

    def trained(epochs: int, lr: float) -> Tensor:
        config = ModelConfig(operator="transr", dimension=4, epochs=epochs, workers=1, lr=lr, relation_lr=lr)
        train(tmp_path, model, config, lambda progress: None, lambda bucket: None)
        with Checkpoint(model).vectors(graph.entity_types[0].name, 0) as vectors:
            return torch.from_numpy(vectors[:])

    before = trained(1, 0.1)
    torch.testing.assert_close(trained(2, 1e-9), before, rtol=0, atol=1e-6)
    assert (trained(3, 0.1) - before).abs().max() > 1e-3


def test_trap_10_configs_are_read_whatever_else_is_imported(tmp_path: Path) -> None:
    """PBG knows Optional[x] by identity, which `typing` keeps for the last 128 types only."""
    graph = block_graph(tmp_path)
    config = pbg_config(graph, tmp_path, "model", ModelConfig(operator="transe"), 1)
    assert Optional[float] is Optional[float]  # noqa: UP045
    kept, types = Optional[float], [type(f"T{index}", (), {}) for index in range(200)]  # noqa: UP045
    assert [Optional[kind] for kind in types]  # noqa: UP045
    assert kept is not Optional[float], "evicted"  # noqa: UP045
    assert ConfigSchema.from_dict(config.to_dict()) == config


# As `transra config pbg` wrote it before modules moved.
OLD_MODULE = """
import sys

sys.path.append({root!r})

import pbg_transra.compat  # noqa: E402, F401  lets PBG read this config whatever else is imported
import pbg_transra.operators  # noqa: E402, F401  makes TransRA's operators known to PBG


def get_torchbiggraph_config():
    return {config}
"""
READ_AS_PBG_DOES = """
import sys
from torchbiggraph.config import ConfigFileLoader
from torchbiggraph.model import make_model
config = ConfigFileLoader().load_config(sys.argv[1])
print(*(type(operator).__name__ for operator in make_model(config).rhs_operators))
"""


def test_a_config_for_pbg_of_an_earlier_version_still_loads(tmp_path: Path) -> None:
    graph = block_graph(tmp_path)
    config = pbg_config(graph, tmp_path, "model", ModelConfig(anchors=("click",), dimension=4), 1).to_dict()
    (tmp_path / "pbg.py").write_text(OLD_MODULE.format(root=str(REPOSITORY), config=config))
    command = [sys.executable, "-W", "ignore", "-c", READ_AS_PBG_DOES, str(tmp_path / "pbg.py")]
    run = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["AnchorOperator", "TiedOperator"]
