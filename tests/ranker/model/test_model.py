"""The parts of the model: gradients, hashing, tables, attention, and the losses against closed forms."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError
from artifacts.section import Problem
from ranker.config.arms import ARMS
from ranker.config.sections import IdsConfig, RankerConfig
from ranker.data.batch import Batch
from ranker.data.ids.slots import Layout
from ranker.data.records import Split, Summary
from ranker.evaluation.attention import ROWS, mean_attention
from ranker.model.attention.layers import ListAttention
from ranker.model.dropout import Dropout
from ranker.model.ranker_model import Hiding, RankerModel
from ranker.model.tables.id_embedding import IdEmbedding
from ranker.model.tables.kge_table import KgeTable
from ranker.model.tabular import KNOTS, LARGEST, RAMPS, Tabular
from ranker.processes import group
from ranker.training.losses import losses, total_loss
from ranker.training.optimizers import AdamW, RowwiseAdagrad
from ranker.training.trainer import Training
from tests.worlds.small_impressions import (
    DIMENSION,
    PINS,
    SLOTS,
    USERS,
    SmallWorld,
    config,
    prepared,
    small_world,
    write_export,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    torch.set_num_threads(1)
    return small_world(tmp_path_factory.mktemp("model"), rows=3000)


@pytest.fixture(scope="module")
def export(world: SmallWorld) -> Embeddings:
    return Embeddings(world.export)


@pytest.fixture(scope="module")
def summary(world: SmallWorld) -> Summary:
    return prepared(world)


@pytest.fixture(scope="module")
def train(world: SmallWorld, summary: Summary) -> Split:
    return Split.of(world.root / "prepared", "train", summary)


def build(summary: Summary, export: Embeddings, arm: str, **changes: Any) -> RankerModel:
    torch.manual_seed(0)
    return RankerModel(config(**changes), ARMS[arm], summary, export)


@pytest.mark.parametrize("heads", [{"kind": "shared_bottom"}, {"kind": "mmoe", "cvr": "clicks"}], ids=["esmm", "mmoe"])
@pytest.mark.parametrize("arm", ARMS)
def test_every_parameter_gets_a_gradient(
    summary: Summary, export: Embeddings, train: Split, arm: str, heads: dict[str, str]
) -> None:
    model = build(summary, export, arm, heads=heads)
    batch = Batch.of(train.read(0, 512), 0)
    batch.rows[:9, 6] = -1  # some unknown pins too
    total_loss(model.trained(batch), batch, config(heads=heads), 1.0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        gradient = parameter.grad.coalesce().values() if parameter.grad.is_sparse else parameter.grad
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0, name


def of_numbers(*columns: list[float]) -> Batch:
    """A batch (B,) of nothing but numerics."""
    numbers = torch.tensor(columns).T
    nothing = torch.zeros(len(numbers), 0, dtype=torch.int64)
    return Batch(numbers[:, 0], numbers[:, 0], numbers, nothing, nothing, nothing, nothing)


def test_a_number_climbs_ramp_after_ramp() -> None:
    tabular = Tabular([], [False, True])
    numbers = [-9.0, KNOTS[0], (KNOTS[3] + KNOTS[4]) / 2, KNOTS[5], 9.0, torch.nan]
    found = tabular(of_numbers(numbers, [0.0] * 6))
    assert found.shape == (6, tabular.width) and tabular.width == 2 * (1 + RAMPS) + 1
    ramps = found[:, 2 : 2 + RAMPS]
    assert torch.allclose(ramps.sum(dim=1)[:5], torch.tensor([0, 0, 3.5, 5, RAMPS]))
    assert ((ramps == 0) | (ramps == 1)).sum(dim=1).tolist()[:5] == [RAMPS, RAMPS, RAMPS - 1, RAMPS, RAMPS]
    assert torch.equal(found[5], tabular(of_numbers([0.0], [0.0]))[0])  # a missing number is the mean


def test_a_band_of_a_number_is_found_in_a_few_steps() -> None:
    """A line through the number itself cannot say that the middle is special."""
    torch.manual_seed(0)
    numbers = torch.randn(2000)
    wanted = ((numbers > 0.2) & (numbers < 0.9)).float()
    inputs = Tabular([], [False])(of_numbers(numbers.tolist()))
    line = torch.nn.Linear(inputs.shape[1], 1)
    optimizer = torch.optim.Adam(line.parameters(), lr=0.3)
    for _ in range(60):
        loss = F.binary_cross_entropy_with_logits(line(inputs).squeeze(1), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    share = wanted.mean()
    entropy = -(share * share.log() + (1 - share) * (1 - share).log())
    assert loss < 0.4 * entropy


@pytest.mark.parametrize("arm", ARMS)
def test_numbers_far_from_all_others_say_no_more_than_the_largest(
    summary: Summary, export: Embeddings, train: Split, arm: str
) -> None:
    """Of a column that is nearly always 0, one event lies a hundred spreads away: logits of hundreds came of it."""
    model = build(summary, export, arm).eval()
    largest, beyond = train.read(0, 64), train.read(0, 64)
    largest["numerics"], beyond["numerics"] = LARGEST, 1e6
    expected, found = model(Batch.of(largest, 0)), model(Batch.of(beyond, 0))
    for task, logits in found.items():
        assert torch.equal(logits, expected[task])


@pytest.mark.parametrize("arm", ARMS)
def test_bfloat16_autocast_keeps_answers_and_gradients(
    summary: Summary, export: Embeddings, train: Split, arm: str
) -> None:
    """What training does on a GPU, here on the CPU: logits move by rounding alone, and gradients stay float32."""
    model = build(summary, export, arm)
    batch = Batch.of(train.read(0, 256), 0)
    with torch.no_grad():
        exact = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.trained(batch)
    for task, logits in rounded[-1].items():
        assert logits.dtype == torch.bfloat16 and (logits.detach() - exact[task]).abs().max() < 0.05
    total_loss(rounded, batch, config(), 1.0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32, name


@pytest.mark.parametrize("arm", ARMS)
def test_the_budget_counts_every_parameter(summary: Summary, export: Embeddings, arm: str) -> None:
    model = build(summary, export, arm)
    budget = model.budget()
    assert sum(budget.values()) == sum(parameter.numel() for parameter in model.parameters())
    assert (budget["ids"] > 0) == ARMS[arm].ids and (budget["kge"] > 0) == ARMS[arm].finetune


def test_a_model_starts_at_the_base_rate(summary: Summary, export: Embeddings, train: Split) -> None:
    counts = summary.counts["train"]
    with torch.no_grad():
        predicted = torch.sigmoid(build(summary, export, "none")(Batch.of(train.read(0, 2000), 0))["ctr"]).mean()
    assert predicted.item() == pytest.approx(counts["clicks"] / counts["rows"], abs=0.05)


def ids(**changes: Any) -> IdEmbedding:
    return IdEmbedding(IdsConfig(**{"rows": 1000, "hashes": 2, "dim": 4, **changes}), Layout.of(config()))


def test_hashing_spreads_ids_and_keeps_no_id_apart() -> None:
    table = ids(rows=10_000, hashes=3)
    hashes = torch.from_numpy(np.random.default_rng(0).integers(1, 1 << 32, (20_000, 8)))
    places = table.places(hashes)
    assert places.shape == (20_000, 8, 3) and places.min() >= 0 and places.max() < 10_000
    counts = torch.bincount(places[:, 0].flatten(), minlength=10_000).double()
    chi_square = ((counts - counts.mean()).square() / counts.mean()).sum() / 9999
    assert 0.9 < chi_square < 1.1  # as even as chance
    together = (places[1:, 0] == places[:-1, 0]).double().mean(dim=0)
    assert (together < 0.002).all()
    assert len(torch.unique(places[:, 0], dim=0)) == 20_000  # no two ids share all of their rows
    assert (table(torch.zeros(2, 8, dtype=torch.int64)) == 0).all()


def test_slots_of_one_type_share_embeddings_and_others_do_not() -> None:
    table = ids()
    hashes = torch.zeros(1, 8, dtype=torch.int64)
    hashes[0, :] = 12345
    places = table.places(hashes)[0]
    assert (places[1] == places[6]).all()  # recent and pin_id hold pins
    assert not (places[0] == places[6]).all() and not (places[7] == places[6]).all()


def test_a_bag_is_the_mean_of_its_ids() -> None:
    table = ids()
    hashes = torch.zeros(2, 8, dtype=torch.int64)
    hashes[0, 1:4] = torch.tensor([11, 22, 33])
    found = table(hashes)
    single = torch.zeros(3, 8, dtype=torch.int64)
    single[:, 6] = torch.tensor([11, 22, 33])
    assert torch.allclose(found[0, 1], table(single)[:, 2].mean(dim=0))
    assert (found[1] == 0).all() and found.shape == (2, 4, 4)


def test_a_step_hides_its_share_of_the_entities(train: Split) -> None:
    layout, batch = Layout.of(config()), Batch.of(train.read(0, 1500), 0)
    hiding = Hiding(layout, 0.3)
    torch.manual_seed(0)
    hidden = hiding(batch)
    assert hidden is not None and Hiding(layout, 0.0)(batch) is None
    assert 0.28 < hidden.float().mean() < 0.32 and 0.05 < (hidden[:, 0] & hidden[:, 1]).float().mean() < 0.13
    rows = hiding.without(batch, hidden).rows
    for place, slot in enumerate(layout.slots):
        assert (rows[hidden[:, place], slot.tokens] == -1).all()
        kept = ~hidden[:, place]
        assert torch.equal(rows[kept, slot.tokens], batch.rows[kept, slot.tokens])


@pytest.mark.parametrize("arm", ["attention", "id_concat", "init_finetune"])
def test_what_is_hidden_says_nothing_in_training_only(
    summary: Summary, export: Embeddings, train: Split, arm: str
) -> None:
    """Neither by its ID embedding nor by its graph vector, nor by how often the graph has seen it."""
    batch = Batch.of(train.read(0, 256), 0)
    other = replace(batch, rows=batch.rows.flip(0))

    def logits(model: RankerModel, of: Batch) -> Tensor:
        torch.manual_seed(0)
        return torch.stack(list(model(of).values()))

    model = build(summary, export, arm, ids={**config().ids.model_dump(), "dropout": 0.5})
    model.hiding.share = 1.0
    before = logits(model.train(), batch)
    assert torch.equal(logits(model, other), before)
    if model.ids is not None:
        with torch.no_grad():
            model.ids.table += 1
        assert torch.equal(logits(model, batch), before)
    assert not torch.equal(logits(model.eval(), other), logits(model, batch))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_dropout_hides_its_share_and_keeps_the_mean(share: float) -> None:
    layer, ones = Dropout(share).train(), torch.ones(501, 799, requires_grad=True)
    torch.manual_seed(0)
    found = layer(ones)
    found.sum().backward()
    hidden = found == 0
    assert hidden.float().mean().item() == pytest.approx(share, abs=0.003)
    assert torch.allclose(found[~hidden], torch.tensor(1 / (1 - share)), rtol=2e-3)
    assert ones.grad is not None and torch.equal(ones.grad, found.detach())
    for shift in (1, 2, 4, 799):  # no two components are hidden together more often than by chance
        both = (hidden.flatten()[shift:] & hidden.flatten()[:-shift]).float().mean().item()
        assert both == pytest.approx(share**2, abs=0.003)
    torch.manual_seed(0)
    assert torch.equal(layer(ones), found) and layer.eval()(ones) is ones


def test_adamw_is_torchs_and_goes_on_where_it_stood() -> None:
    torch.manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.ones(size)) for size in ((4, 3), (5,), ())] for _ in range(2))
    optimizer, expected = AdamW(ours, 0.1, 0.3), torch.optim.AdamW(theirs, 0.1, weight_decay=0.3, fused=True)
    for step in range(6):
        for one, other in zip(ours[step % 2 :], theirs[step % 2 :], strict=True):  # the first has a gradient at times
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        optimizer.lr = expected.param_groups[0]["lr"] = 0.1 / (1 + step)
        optimizer.step()
        expected.step()
        optimizer.zero_grad()
        expected.zero_grad()
        saved, optimizer = optimizer.state_dict(), AdamW(ours, 0.1, 0.3)
        optimizer.load_state_dict(saved)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert optimizer.state_dict()["state"].keys() == expected.state_dict()["state"].keys() == {0, 1, 2}


def test_row_wise_adagrad_is_its_formula_and_leaves_other_rows() -> None:
    torch.manual_seed(0)
    table = torch.nn.Parameter(torch.randn(6, 3))
    optimizer, expected, sums = RowwiseAdagrad([table], lr=0.1), table.detach().clone(), torch.zeros(6)
    for rows in ([1, 1, 4], [4, 2, 2]):
        optimizer.zero_grad()
        weights = torch.randn(3, 3)
        (F.embedding(torch.tensor(rows), table, sparse=True) * weights).sum().backward()
        optimizer.step()
        gradient = torch.zeros(6, 3).index_add_(0, torch.tensor(rows), weights)
        sums += gradient.square().mean(dim=1)
        expected -= 0.1 * gradient / (sums.sqrt() + 1e-8).unsqueeze(1)
    assert torch.allclose(table.detach(), expected, atol=1e-6)
    assert (sums[[0, 3, 5]] == 0).all()


def test_fine_tuning_keeps_the_vectors_of_cold_entities(
    summary: Summary, export: Embeddings, train: Split, tmp_path: Path
) -> None:
    model = build(summary, export, "init_finetune")
    Training(model, config(), 0, 0, tmp_path).run(train, train, lambda done, last: None)
    assert model.concat is not None
    table = model.concat.table
    seen = np.unique(train.read(0, len(train))["rows"][:, 0, 0])
    moved = (table.vectors["user"].detach().numpy() != export.vectors("user")).any(axis=1)
    assert set(np.flatnonzero(moved)) == set(seen[seen >= 0])
    cold = KgeTable(export, ["user"], finetune=True)("user", torch.tensor([-1]))
    assert (cold == 0).all()


def test_a_scale_is_of_trained_vectors_alone(export: Embeddings, tmp_path: Path) -> None:
    """The others need not be zeros: with biases, heads of anchors ask for what is popular."""
    path = tmp_path / "embeddings.h5"
    shutil.copy(export.path, path)
    with h5py.File(path, "r+") as file:
        rows = file["entities/user"]
        rows["trained"][::2], rows["vectors"][::2] = 0, np.eye(1, rows["vectors"].shape[1])
    vectors = export.vectors("user")[1::2]
    scale = KgeTable(Embeddings(path), ["user"], finetune=False).scales["user"]
    assert scale == pytest.approx(1 / np.sqrt(np.square(vectors).mean()))


@pytest.mark.parametrize("room", [True, False])
def test_frozen_vectors_are_copied_to_a_device_that_has_room(
    export: Embeddings, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    """The device without memory stands for a GPU."""
    monkeypatch.setattr("ranker.model.tables.kge_table.has_room", lambda device, needed: room)
    table, there = KgeTable(export, ["user"], finetune=False), torch.device("meta")
    assert table._near("user", there).device == (there if room else torch.device("cpu"))
    assert table._near("user", there) is table._near("user", there), "copied once"
    assert table._near("user", torch.device("cpu")) is table._frozen["user"]


def test_a_gpu_that_is_asked_for_is_there_or_refused(
    summary: Summary, export: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model, settings = build(summary, export, "none"), config(device="cuda")
    with pytest.raises(ConfigError, match="ranker.device: 'cuda': torch .* sees no GPU here; expected 'cpu' or 'auto'"):
        Training(model, settings, 0, 0, tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setenv("LOCAL_RANK", "3")  # of a launcher that this process is not of
    assert group.device("cuda") == group.device("auto") == torch.device("cuda", 0)
    assert group.device("cpu") == torch.device("cpu")


def test_frozen_vectors_are_mapped_and_never_change(export: Embeddings) -> None:
    table = KgeTable(export, ["user"], finetune=False)
    assert not list(table.parameters()) and not table.state_dict()
    found = table("user", torch.tensor([[3, -1]]))
    assert torch.allclose(found[0, 0], torch.tensor(export.vectors("user")[3]) * table.scales["user"])
    assert (found[0, 1] == 0).all()


def test_degrees_are_logarithms_brought_to_scale(summary: Summary, export: Embeddings, train: Split) -> None:
    model, batch = build(summary, export, "frozen_concat"), Batch.of(train.read(0, 500), 0)
    assert model.degrees is not None and model.degrees.width == 2
    found = model.degrees(batch)
    for index, (name, kind) in enumerate((("user_id", "user"), ("pin_id", "pin"))):
        rows = batch.rows[:, Layout.of(config()).slot(name).tokens].squeeze(1).numpy()
        logs = np.log1p(np.asarray(export.degrees(kind), np.float64)[:, 0])
        expected = (np.where(rows >= 0, logs[rows], 0) - logs.mean()) / logs.std()
        np.testing.assert_allclose(found[:, index].numpy(), expected, rtol=1e-4, atol=1e-4)
        assert kind == "pin" or (rows < 0).any(), "people whom the graph does not know"


def test_a_relation_that_hardly_anyone_has_gives_no_numbers_without_end(
    summary: Summary, tmp_path: Path, train: Split
) -> None:
    export = tmp_path / "rare.h5"
    vectors = {"user": np.ones((USERS - 20, DIMENSION)), "pin": np.ones((PINS, DIMENSION))}
    write_export(export, vectors, degrees=lambda rows: np.where(np.arange(rows) == 0, 1_000_000, 0)[:, None])
    model = build(summary, Embeddings(export), "frozen_concat")
    assert model.degrees is not None
    batch = Batch.of(train.read(0, 2), 0)
    batch.rows[:] = 0
    few = pytest.approx((PINS - 1) ** 0.5, rel=1e-3)  # one of PINS: so many standard deviations
    assert model.degrees(batch).tolist() == [[15.0, few]] * 2


def test_an_empty_type_has_no_degrees(summary: Summary, tmp_path: Path, train: Split) -> None:
    export = tmp_path / "empty.h5"
    write_export(export, {"user": np.ones((USERS - 20, DIMENSION)), "pin": np.ones((0, DIMENSION))})
    model = build(summary, Embeddings(export), "frozen_concat")
    assert model.degrees is not None and model.degrees.width == 1
    assert model.degrees(Batch.of(train.read(0, 50), 0)).isfinite().all()


def test_attention_weights_can_be_read(summary: Summary, export: Embeddings, train: Split) -> None:
    model = build(summary, export, "attention")
    batch = Batch.of(train.read(0, 64), 0)
    weights = model.attention_weights(batch)
    assert weights["recent"].shape == (64, 2, 6) and weights["context"].shape == (64, 2, 3)
    for found in weights.values():
        assert torch.allclose(found.sum(dim=2), torch.ones(64, 2), atol=1e-5)
    absent = (batch.rows[:, 1:6] < 0).unsqueeze(1).expand(-1, 2, -1)
    assert (weights["recent"][:, :, 1:][absent] == 0).all()


def test_mean_attention_is_that_of_the_first_rows(summary: Summary, export: Embeddings, train: Split) -> None:
    model = build(summary, export, "attention")
    found = mean_attention(model, train, 0)
    assert found is not None and sum(found["context"].values()) == pytest.approx(1, abs=1e-4)
    assert len(found["context"]) == 3
    of_list = found["lists"]["recent"]
    assert of_list["empty"] + sum(of_list["places"]) == pytest.approx(1, abs=1e-4)
    assert 0 < of_list["rows"] <= ROWS and len(of_list["places"]) == 5
    assert mean_attention(build(summary, export, "none"), train, 0) is None


def test_list_attention_is_attention_with_keys_and_values() -> None:
    """Moving the linear maps to the query and to the sum changes nothing."""
    torch.manual_seed(0)
    attention = ListAttention(torch.randn(4, 6), heads=2, ad_slots=1, same=0)
    ads, vectors, known = torch.randn(3, 4), torch.randn(3, 5, 6), torch.rand(3, 5) > 0.3
    found, weights = attention(ads, vectors, known)
    value = attention.value.weight.view(4, 2, 6)
    for row in range(3):
        tokens = torch.cat([attention.empty.view(1, 6), vectors[row][known[row]]])
        query = attention.query(ads[row]).view(2, 6)
        total = attention.value.bias.clone()
        for head in range(2):
            weight = (tokens @ query[head] / 6**0.5).softmax(dim=0)
            total = total + weight @ (tokens @ value[:, head].T)
        assert torch.allclose(found[row], total, atol=1e-5)
    assert weights.shape == (3, 2, 6)


def test_relation_scores_are_those_of_the_graph(summary: Summary, export: Embeddings, train: Split) -> None:
    """cos(M h + r, M t) from the exported arrays, for the relations from user to ad, and 0 where one is unknown."""
    model = build(summary, export, "attention_no_id")
    assert model.attention is not None
    batch = Batch.of(train.read(0, 300), 0)
    _, matches, _ = model.attention(batch, model.context(batch), None)
    users, pins = batch.rows[:, 0].numpy(), batch.rows[:, 6].numpy()
    heads, tails = export.vectors("user")[users], export.vectors("pin")[pins]
    assert matches.shape == (300, 2 + 2)  # two user tokens on one ad slot; click and visit
    for place, name in ((2, "click"), (3, "visit")):
        parameters = export.relation(name).parameters
        projection = parameters.get("projection", np.eye(8))
        left, right = heads @ projection.T + parameters["translation"], tails @ projection.T
        cosine = (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
        assert np.allclose(matches[:, place].detach().numpy(), np.where(users < 0, 0, cosine), atol=1e-5)
    assert (users < 0).any()


def test_an_unseen_id_falls_back_to_its_graph_vector(summary: Summary, export: Embeddings, train: Split) -> None:
    """The ID table's first rows are almost zero, so an id that training never saw changes next to nothing."""
    model = build(summary, export, "attention").eval()
    records = train.read(0, 64)
    batch, stranger = Batch.of(records, 0), Batch.of(records, 0)
    stranger.hashes[:, 0] += 1
    with torch.no_grad():
        assert (model(batch)["ctr"] - model(stranger)["ctr"]).abs().max() < 0.05


def test_esmm_and_click_losses_are_their_formulas() -> None:
    torch.manual_seed(0)
    click, conversion = torch.tensor([1.0, 1, 0, 0, 1]), torch.tensor([1.0, 0, 0, -1, -1])
    empty = torch.zeros(5, 0)
    batch = Batch(click, conversion, empty, empty.long(), empty.long(), empty.long(), empty.long())
    logits = {"ctr": torch.randn(5), "cvr": torch.randn(5)}
    p, q = torch.sigmoid(logits["ctr"]), torch.sigmoid(logits["cvr"])
    both, target = p * q, click * conversion
    each = -(target * both.log() + (1 - target) * (1 - both).log())
    found = losses(logits, batch, config(), 1.0)
    assert torch.isclose(found["ctr"], F.binary_cross_entropy(p, click))
    assert torch.isclose(found["cvr"], each[:3].sum() / 5, atol=1e-6)  # the last two are unknown yet
    of_clicks = losses(logits, batch, config(heads={"cvr": "clicks", "cvr_weight": 2.0}), 1.0)["cvr"]
    assert torch.isclose(of_clicks, 2 * F.binary_cross_entropy(q[:2], conversion[:2], reduction="sum") / 5)


def test_down_sampling_moves_the_odds_by_what_was_dropped() -> None:
    """He et al. 2014: q = p / (p + (1 - p) * keep)."""
    p = torch.tensor([0.01, 0.2, 0.7])
    batch = Batch(torch.ones(3), -torch.ones(3), *(torch.zeros(3, 0),) * 5)
    found = losses({"ctr": torch.logit(p)}, batch, config(labels={"click": "click"}), 0.25)["ctr"]
    assert torch.isclose(found, -(p / (p + (1 - p) * 0.25)).log().mean())


def problems(**changes: Any) -> list[Problem]:
    values = {"impressions": "log", "slots": SLOTS, "numerics": {"age": "log"}, "labels": {"click": "click"}, **changes}
    return list(RankerConfig(**values).problems())


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"user": "user"}, ("user",), "'user' is not an id slot, did you mean 'user_id'?"),
        ({"numerics": {}}, ("numerics",), "no tabular column at all"),
        ({"labels": {}}, ("labels", "click"), "nothing to predict; expected `click`, `conversion` or both"),
        (
            {"split": {"valid_from": "2026-01-03", "test_from": "2026-01-02"}},
            ("split", "test_from"),
            "after valid_from",
        ),
        ({"split": {"valid": 0.5, "test": 0.6}}, ("split", "valid"), "leave nothing to train on"),
        ({"attention": {"width": 8, "heads": 3}}, ("attention", "heads"), "3: expected a divisor of width (8)"),
        ({"arms": {"x": {"finetune": True}}}, ("arms", "x", "finetune"), "has no meaning without `vectors`"),
        ({"segments": {"s": {"column": "agee", "at_most": 1}}}, ("segments", "s", "column"), "'agee' is no numeric"),
        ({"arms": {"all": {}}}, ("arms", "all"), "expected a name other than 'all', '.' and '..', without '@' and ','"),
        ({"arms": {"..": {}}}, ("arms", ".."), "expected a name other than 'all', '.' and '..', without '@' and ','"),
        ({"segments": {"s": {"unknown": "recent"}}}, ("segments", "s", "unknown"), "'recent' is not an id slot"),
    ],
)
def test_config_values_are_checked_against_each_other(
    changes: dict[str, Any], path: tuple[str, ...], message: str
) -> None:
    (problem,) = problems(**changes)
    assert problem.path == path and message in problem.message


def test_the_default_config_is_good() -> None:
    assert problems() == []
