"""The two branches of an arm that sees more than tabular columns, and the mixture of their answers."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from artifacts.embeddings import Embeddings
from ranker.config.arms import ARMS
from ranker.data.batch import Batch
from ranker.data.records import Split
from ranker.model.branches import FIRST_SHARE, SHARE_SPEED, Mixture
from ranker.model.ranker_model import RankerModel
from ranker.training.trainer import Training
from tests.worlds.small_impressions import config, prepared, small_world

MORE = [name for name in ARMS if name != "none"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, RankerModel], Batch]:
    """A model of every arm, and a batch."""
    torch.manual_seed(0)
    world = small_world(tmp_path_factory.mktemp("branches"), rows=500)
    summary, export = prepared(world), Embeddings(world.export)
    models = {
        name: RankerModel(config(), arm, summary, None if arm.vectors == "none" else export).eval()
        for name, arm in ARMS.items()
    }
    return models, Batch.of(Split.of(world.root / "prepared", "train", summary).read(0, 64), 0)


def test_none_is_one_network(built: tuple[dict[str, RankerModel], Batch]) -> None:
    models, batch = built
    assert len(models["none"].trained(batch)) == 1 and models["none"].mixture is None


@pytest.mark.parametrize("arm", MORE)
def test_a_share_of_0_answers_as_tabular_columns_do_and_1_as_all_do(
    built: tuple[dict[str, RankerModel], Batch], arm: str
) -> None:
    models, batch = built
    whole, alone, mixed = models[arm].trained(batch)
    mixture = models[arm].mixture
    assert mixture is not None
    for task, share in mixture.share.items():
        assert torch.allclose(mixed[task], alone[task] + FIRST_SHARE * (whole[task] - alone[task]), atol=1e-6)
        with torch.no_grad():
            share.fill_(0)
        assert torch.allclose(models[arm](batch)[task], alone[task], atol=1e-6)
        with torch.no_grad():
            share.fill_(1 / SHARE_SPEED)
        assert torch.allclose(models[arm](batch)[task], whole[task], atol=1e-6)


@pytest.mark.parametrize("arm", MORE)
def test_the_tabular_branch_sees_neither_ids_nor_vectors(built: tuple[dict[str, RankerModel], Batch], arm: str) -> None:
    models, batch = built
    models[arm].zero_grad()
    models[arm].trained(batch)[1]["ctr"].sum().backward()
    learning = {name.split(".")[0] for name, one in models[arm].named_parameters() if one.grad is not None}
    assert learning == {"tabular", "tabular_alone"}


def test_no_gradient_of_the_mixture_reaches_a_branch(built: tuple[dict[str, RankerModel], Batch]) -> None:
    models, batch = built
    model = models["attention"]
    model.zero_grad()
    model.trained(batch)[-1]["ctr"].sum().backward()
    assert [name for name, one in model.named_parameters() if one.grad is not None] == ["mixture.share.ctr"]


def learned_share(told: float, heard: float) -> float:
    """The share after a training in which two branches know a truth but for noise of these spreads."""
    torch.manual_seed(0)
    mixture = Mixture(("ctr",))
    optimizer = torch.optim.AdamW(mixture.parameters(), lr=0.002)

    def noisy(truth: Tensor, spread: float) -> dict[str, Tensor]:
        return {"ctr": truth + spread * torch.randn(len(truth))}

    for _ in range(400):
        truth = torch.randn(1024)
        logits = mixture(noisy(truth, told), noisy(truth, heard))["ctr"]
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(logits, (torch.rand(1024) < truth.sigmoid()).float()).backward()
        optimizer.step()
    return SHARE_SPEED * float(mixture.share["ctr"].detach())


def test_the_share_goes_to_the_branch_that_errs_less() -> None:
    """Of two estimates with independent errors, each weighs by the inverse of its variance."""
    assert learned_share(0.3, 1.0) > 0.8
    assert learned_share(1.0, 0.3) < 0.2
    assert learned_share(0.6, 0.6) == pytest.approx(0.5, abs=0.1)


def test_the_share_is_learned_in_the_first_epoch_alone(tmp_path: Path) -> None:
    """Later, branches know their training rows by heart: a share that followed them was beyond 1."""
    world = small_world(tmp_path, rows=500)
    summary = prepared(world)
    splits = {name: Split.of(world.root / "prepared", name, summary) for name in ("train", "valid")}
    chosen = config(training={"batch_size": 64, "lr": 0.005, "epochs": 3, "eval_every": 1, "patience": 1000})
    model, shares = RankerModel(chosen, ARMS["id_only"], summary, None), list[float]()
    assert model.mixture is not None
    share = model.mixture.share["ctr"]

    def validated(*told: object) -> None:
        shares.append(float(share.detach()))

    Training(model, chosen, 0, 0, tmp_path).run(*splits.values(), lambda *told: None, validated)
    epoch = len(shares) // chosen.training.epochs
    assert epoch > 3 and len(set(shares[:epoch])) == epoch
    assert set(shares[epoch:]) == {shares[epoch - 1]}
