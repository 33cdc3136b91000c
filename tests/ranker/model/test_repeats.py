"""What repeats is computed once and padding is left out: the answers are those of the straightforward form."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from artifacts.embeddings import Embeddings
from artifacts.kernels.levels import VARIABLE
from ranker.config.arms import ARMS, ArmConfig
from ranker.data.batch import Batch
from ranker.data.ids.id_bags import MULTIPLIERS, id_means, salts_of, table_rows
from ranker.data.ids.slots import Layout
from ranker.data.records import Split, Summary
from ranker.model import repeats
from ranker.model.attention.layers import ContextAttention
from ranker.model.ranker_model import RankerModel
from ranker.model.repeats import Distinct, by_length, in_order
from ranker.training.losses import total_loss
from tests.worlds.small_impressions import SmallWorld, config, prepared, small_world

ROWS = 1500  # enough for groups of lists
ATTENDING = {name: arm for name, arm in ARMS.items() if arm.vectors == "attention"}
ATTENDING["tuned"] = ArmConfig(ids=True, vectors="attention", finetune=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    torch.set_num_threads(1)
    return small_world(tmp_path_factory.mktemp("repeats"), rows=3000)


@pytest.fixture(scope="module")
def encoded(world: SmallWorld) -> tuple[Summary, Embeddings, Batch]:
    summary, export = prepared(world), Embeddings(world.export)
    batch = Batch.of(Split.of(world.root / "prepared", "train", summary).read(0, ROWS), 0)
    batch.rows[:40, 6] = -1  # ads that the graph does not know
    batch.rows[:200, 3] = -1  # gaps in lists
    batch.rows[300:340, 1:6] = -1  # and lists of which it knows nothing
    return summary, export, batch


@pytest.fixture
def straightforward() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def answers(model: RankerModel, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Logits, and the gradient of every parameter."""
    model.zero_grad()
    trained = model.trained(batch)
    total_loss(trained, batch, config(), 1.0).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return trained[0], {name: g.to_dense() if g.is_sparse else g for name, g in gradients.items()}


def test_means_of_lists_are_those_of_torch(
    encoded: tuple[Summary, Embeddings, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, export, batch = encoded
    concat = RankerModel(config(), ARMS["frozen_concat"], summary, export).concat
    assert concat is not None
    found = concat(batch)
    monkeypatch.setenv(VARIABLE, "torch")
    assert torch.allclose(found, concat(batch), atol=1e-6)
    assert (found == 0).any() and found.any(), "lists of which nothing is known, and others"


@pytest.mark.parametrize("arm", ATTENDING)
def test_answers_and_gradients_are_those_of_every_row_by_itself(
    encoded: tuple[Summary, Embeddings, Batch], arm: str, straightforward: pytest.MonkeyPatch
) -> None:
    summary, export, batch = encoded
    torch.manual_seed(0)
    model = RankerModel(config(), ATTENDING[arm], summary, export).eval()
    assert model.attention is not None
    chosen, lists = Distinct.of(batch, model.attention.ads).chosen, batch.rows[:, 1:6]
    assert chosen is not None and len(chosen) < ROWS / 2 and len(list(by_length(lists >= 0))) == repeats.GROUPS
    logits, gradients = answers(model, batch)
    weights = model.attention_weights(batch)
    straightforward.setattr(repeats, "_pays", lambda values: False)
    assert Distinct.of(batch, model.attention.ads).chosen is None and len(list(by_length(lists >= 0))) == 1
    expected, expected_gradients = answers(model, batch)
    for task, found in logits.items():
        assert torch.allclose(found, expected[task], atol=1e-5), task
    for name, gradient in expected_gradients.items():
        assert torch.allclose(gradients[name], gradient, atol=1e-4 * float(gradient.abs().max())), name
    for name, weight in model.attention_weights(batch).items():
        assert torch.allclose(weights[name], weight, atol=1e-5), name


def test_ads_differ_where_any_id_does(encoded: tuple[Summary, Embeddings, Batch]) -> None:
    """Also where only the hash, or only the row in the export, is another."""
    ads = [slot for slot in Layout.of(config()).graph(lists=False) if slot.side == "ad"]
    same = {name: values[:1].repeat(6, *[1] * (values.dim() - 1)) for name, values in vars(encoded[2]).items()}
    batch = Batch(**same)
    batch.rows[:, ads[0].first] = 5
    batch.hashes[2:4, ads[0].first] = (1 << 32) - 1
    batch.rows[3:5, ads[0].first] = -1
    found = Distinct.of(batch, ads)
    assert found.kinds is not None and found.chosen is not None
    kinds = found.kinds.tolist()
    assert kinds[0] == kinds[1] == kinds[5] and len(set(kinds)) == len(found.chosen) == 4
    assert torch.equal(found.each(found.once(batch.hashes)), batch.hashes)
    rows = torch.tensor([4, 2])
    assert torch.equal(found.each(found.once(batch.rows), rows), batch.rows[rows])


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 1500), length=st.integers(1, 7), share=st.floats(0, 1), seed=st.integers(0, 1 << 30))
def test_groups_hold_every_row_once_and_leave_out_padding_alone(
    rows: int, length: int, share: float, seed: int
) -> None:
    known = torch.rand(rows, length, generator=torch.Generator().manual_seed(seed)) < share
    groups, found = [], []
    for group, width in by_length(known):
        groups.append(group)
        found.append(F.pad(known[slice(None) if group is None else group, :width], (0, length - width)))
    assert torch.equal(in_order(groups, found), known)


def test_context_attention_is_attention_with_keys_and_values() -> None:
    torch.manual_seed(0)
    attention = ContextAttention(5, 8, heads=2)
    context, tokens = torch.randn(3, 5), torch.randn(3, 4, 8)
    found, weights = attention(context, tokens)
    query, keys, values = attention.query(context), attention.key(tokens), attention.value(tokens)
    expected = F.scaled_dot_product_attention(
        query.view(3, 2, 1, 4), keys.view(3, 4, 2, 4).transpose(1, 2), values.view(3, 4, 2, 4).transpose(1, 2)
    )
    gated = torch.sigmoid(attention.gate(context)) * expected.flatten(1)
    assert torch.allclose(found, attention.residual(context) + gated, atol=1e-5)
    assert weights.shape == (3, 2, 4)


def test_means_of_ids_and_their_gradients_are_those_of_each_id_by_itself() -> None:
    layout, rows = Layout.of(config()), 50
    generator = torch.Generator().manual_seed(0)
    hashes = torch.randint(0, 9, (64, layout.width), generator=generator)  # many repeat, and some are none
    table = torch.nn.Parameter(torch.randn(rows, 3, generator=generator))
    salts, multipliers = torch.tensor(salts_of(layout)), torch.tensor(MULTIPLIERS[:2])
    each = table[table_rows(hashes ^ salts, multipliers, rows)].sum(dim=2) * (hashes != 0).unsqueeze(2)
    counts = [(hashes[:, slot.tokens] != 0).sum(dim=1, keepdim=True).clamp(min=1) for slot in layout.slots]
    means = [each[:, slot.tokens].sum(dim=1) / count for slot, count in zip(layout.slots, counts, strict=True)]
    expected, weights = torch.stack(means, dim=1), torch.randn(64, len(layout.slots), 3, generator=generator)
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), table)
    look_up = partial(F.embedding, weight=table, sparse=True)
    found = id_means(look_up, rows, hashes, salts, multipliers, layout)
    assert torch.allclose(found, expected, atol=1e-5)
    (found * weights).sum().backward()
    assert table.grad is not None and table.grad.is_sparse
    assert torch.allclose(table.grad.to_dense(), expected_gradient, atol=1e-4)
