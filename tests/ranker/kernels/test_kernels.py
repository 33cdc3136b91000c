"""Kernels are held to torch: the same values, and gradients in closed form that are those of differences."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from artifacts.kernels.levels import VARIABLE
from ranker.config.sections import BackboneConfig
from ranker.kernels.bags import BagMeans
from ranker.kernels.cosines import cosines
from ranker.kernels.cross import CrossLayers
from ranker.kernels.distinct import distinct
from ranker.kernels.library import computes, possible_levels
from ranker.kernels.lists import HeldAgainst, ListInputs
from ranker.kernels.perceptron import PerceptronLayers
from ranker.kernels.tokens import RowTokens
from ranker.model.backbone import CrossNetwork, Perceptron
from ranker.training.optimizers import RowwiseAdagrad

COMPILED = [level for level in possible_levels() if level != "torch"]
ROWS, LENGTH, HEADS, WIDTH, ADS, KINDS, UNITS, BUCKETS = 5, 4, 2, 6, 3, 2, 7, 3
NAMES = ("total", "weights", "sums")


class Lists(NamedTuple):
    """The parameters of `HeldAgainst` but for the last, and that one."""

    parameters: tuple[Tensor | None, ...]
    inputs: ListInputs


@pytest.fixture(params=COMPILED)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(VARIABLE, request.param)
    yield request.param


def drawn(*shape: int, gradient: bool = True, dtype: torch.dtype = torch.double) -> Tensor:
    return torch.randn(*shape, dtype=dtype).requires_grad_(gradient)


def lists(timed: bool, dtype: torch.dtype = torch.double) -> Lists:
    """The second row's list is empty, others have gaps."""
    torch.manual_seed(1)
    places = torch.randint(0, 9, (ROWS, LENGTH))
    places[0, 1], places[1], places[2, 3] = -1, -1, -1
    ages = torch.randint(0, BUCKETS, (ROWS, LENGTH)) if timed else None
    kinds, vectors = torch.randint(0, KINDS, (ROWS,)), drawn(9, WIDTH, gradient=False, dtype=dtype)
    inputs = ListInputs(vectors, places, kinds, ages, drawn(KINDS, ADS, WIDTH, gradient=False, dtype=dtype))
    shapes = [(KINDS, HEADS, WIDTH), (KINDS, HEADS), (ADS, UNITS), (LENGTH, UNITS)]
    parameters: list[Tensor | None] = [drawn(*shape, dtype=dtype) for shape in shapes]
    parameters.append(drawn(BUCKETS, UNITS, dtype=dtype) if timed else None)
    return Lists(tuple(parameters), inputs)


def in_torch(parameters: tuple[Tensor | None, ...], inputs: ListInputs) -> tuple[Tensor, ...]:
    query, empty, weight, by_place, by_age = parameters
    assert query is not None and empty is not None and weight is not None and by_place is not None
    known, vectors = inputs.places >= 0, inputs.vectors[inputs.places]  # (B, L, D)
    scores = torch.einsum("bhd,bld->bhl", query[inputs.kinds], vectors).masked_fill(~known.unsqueeze(1), -torch.inf)
    weights = torch.cat([empty[inputs.kinds].unsqueeze(2), scores], dim=2).softmax(dim=2)
    cosines = torch.einsum("bjd,bld->blj", inputs.ads[inputs.kinds], vectors) / vectors.shape[2]
    units = cosines @ weight + by_place
    if by_age is not None and inputs.ages is not None:
        units = units + by_age[inputs.ages]
    return weights[:, :, 1:] @ vectors, weights, (units.relu() * known.unsqueeze(2)).sum(dim=1)


@pytest.mark.parametrize("timed", [True, False])
def test_lists_are_held_against_ads_as_in_torch(level: str, timed: bool) -> None:
    for dtype, least in ((torch.double, 1e-12), (torch.float, 1e-5)):
        given = lists(timed, dtype)
        found, expected = HeldAgainst.apply(*given.parameters, given.inputs), in_torch(*given)
        for name, one, other in zip(NAMES, found, expected, strict=True):
            assert torch.allclose(one, other, atol=least), name


@pytest.mark.parametrize("timed", [True, False])
def test_gradients_of_lists_are_those_of_differences(level: str, timed: bool) -> None:
    given = lists(timed)
    assert torch.autograd.gradcheck(lambda *parameters: HeldAgainst.apply(*parameters, given.inputs), given.parameters)


def test_a_list_that_is_not_a_number_stays_so(level: str) -> None:
    """A training that has diverged is found by its loss."""
    given = lists(timed=True)
    spoilt = given.inputs._replace(vectors=given.inputs.vectors * torch.nan)
    for name, one in zip(NAMES, HeldAgainst.apply(*given.parameters, spoilt), strict=True):
        assert one[[0, 2, 3, 4]].isnan().any(dim=1).all(), name
        assert not one[1].isnan().any(), f"{name} of an empty list"


def token_inputs(dtype: torch.dtype = torch.double) -> tuple[Tensor, Tensor, Tensor]:
    """Own tokens (B, N, A), those of ads (U, J, A), and what is asked (B, H, A)."""
    torch.manual_seed(2)
    return (
        drawn(ROWS, 4, WIDTH, dtype=dtype),
        drawn(KINDS, ADS, WIDTH, dtype=dtype),
        drawn(ROWS, HEADS, WIDTH, dtype=dtype),
    )


OF_ADS, USERS, GROUPS = torch.tensor([1, 0, 1, 1, 0]), 3, 2


def tokens_in_torch(own: Tensor, ads: Tensor, asked: Tensor) -> tuple[Tensor, ...]:
    each, users = ads[OF_ADS], own[:, -USERS:]
    tokens = torch.cat([own, each], dim=1)
    weights = (asked @ tokens.transpose(1, 2)).softmax(dim=2)
    products = torch.einsum("bugs,bjgs->bujg", users.unflatten(2, (GROUPS, -1)), each.unflatten(2, (GROUPS, -1)))
    return weights, weights @ tokens, products, users.square().sum(dim=2)


def by_kernel(own: Tensor, ads: Tensor, asked: Tensor) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = RowTokens.apply(own, ads, asked, OF_ADS, USERS, GROUPS)
    return found


def test_tokens_say_of_each_other_what_they_say_in_torch(level: str) -> None:
    for dtype, least in ((torch.double, 1e-12), (torch.float, 1e-5)):
        given = token_inputs(dtype)
        for one, other in zip(by_kernel(*given), tokens_in_torch(*given), strict=True):
            assert torch.allclose(one, other, atol=least)


def test_gradients_of_tokens_are_those_of_differences(level: str) -> None:
    assert torch.autograd.gradcheck(by_kernel, token_inputs())


MANY = 53  # rows: more than a block, and no multiple of a tile
DEEP_WIDE = [(21, 5), (300, 17)]  # widths and ranks: padded, and deeper than a panel


def trained(model: nn.Module, x: Tensor, by_answer: Tensor) -> list[Tensor]:
    """The answer, and the gradients of x and of all parameters; draws are the same at every call."""
    torch.manual_seed(5)
    model.zero_grad()
    x.grad = None
    answer = model(x)
    answer.backward(by_answer)
    found = [answer.detach(), x.grad, *(parameter.grad for parameter in model.parameters())]
    return [one.clone() for one in found if one is not None]


@pytest.mark.parametrize("kind", ["cross", "perceptron", "perceptron in use"])
@pytest.mark.parametrize(("width", "rank"), DEEP_WIDE)
def test_backbones_learn_what_they_learn_in_torch(
    level: str, kind: str, width: int, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    hidden = BackboneConfig(hidden=(rank, 7, 64), dropout=0.3)
    model = CrossNetwork(width, 3, rank) if kind == "cross" else Perceptron(width, hidden).train(kind == "perceptron")
    for dtype, least in ((torch.double, 1e-11), (torch.float, 1e-4)):
        model, x = model.to(dtype), drawn(MANY, width, dtype=dtype)
        by_answer = torch.randn_like(model(x))
        monkeypatch.setenv(VARIABLE, level)
        found = trained(model, x, by_answer)
        monkeypatch.setenv(VARIABLE, "torch")
        expected = trained(model, x, by_answer)
        assert len(found) == len(expected) == 2 + len(list(model.parameters()))
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, rtol=least, atol=least * float(other.abs().max()))
        assert kind != "perceptron" or (expected[0] == 0).any(), "something is hidden"


def test_gradients_of_cross_layers_are_those_of_differences(level: str) -> None:
    torch.manual_seed(4)
    given = drawn(MANY, 3), drawn(2, 2, 3), drawn(2, 3, 2), drawn(2, 3)
    assert torch.autograd.gradcheck(CrossLayers.apply, given)


@pytest.mark.parametrize("hidden", [0, 1 << 14])
def test_gradients_of_perceptrons_are_those_of_differences(level: str, hidden: int) -> None:
    torch.manual_seed(4)
    draws = torch.empty(MANY * 2 // 4 + 1 + MANY * 3 // 4 + 1, dtype=torch.int64).random_(-(1 << 63), None)
    parameters = drawn(2, 5), drawn(3, 2), drawn(2), drawn(3)

    def answer(*given: Tensor) -> Tensor:
        found: Tensor = PerceptronLayers.apply(given[0], draws if hidden else None, hidden, *given[1:])
        return found

    assert torch.autograd.gradcheck(answer, (drawn(MANY, 5), *parameters))


def test_a_backbone_that_is_not_a_number_stays_so(level: str) -> None:
    x = drawn(MANY, 21, dtype=torch.float).detach()
    x[7, 3] = torch.nan
    for model in (CrossNetwork(21, 2, 5), Perceptron(21, BackboneConfig(hidden=(16, 8)))):
        answer = model(x)
        assert answer[7].isnan().any() and not answer[:7].isnan().any() and not answer[8:].isnan().any()


def test_a_backbone_takes_no_rows_as_in_torch(level: str) -> None:
    for model, width in ((CrossNetwork(21, 2, 5), 21), (Perceptron(21, BackboneConfig(hidden=(16, 8))), 8)):
        x = torch.zeros(0, 21, requires_grad=True)
        model(x).sum().backward()
        assert model(x).shape == (0, width) and all(not one.grad.any() for one in model.parameters())


def test_means_of_bags_are_those_of_torch_and_their_gradients_those_of_differences(level: str) -> None:
    torch.manual_seed(6)
    sizes = torch.tensor([0, 3, 1, 0, 4])
    places, vectors = torch.randint(0, 5, (8,)), drawn(5, 11)
    expected = F.embedding_bag(places, vectors, sizes.cumsum(0) - sizes, mode="mean")
    assert torch.allclose(BagMeans.apply(vectors, places, sizes), expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda one: BagMeans.apply(one, places, sizes), (vectors,))


def test_cosines_are_those_of_torch(level: str) -> None:
    torch.manual_seed(7)
    heads, tails = drawn(ROWS, 19, gradient=False), F.normalize(drawn(KINDS, 19, gradient=False), dim=1)
    heads[2] = 0
    for translation in (None, drawn(19, gradient=False)):
        moved = heads if translation is None else heads + translation
        expected = (F.normalize(moved, dim=1, eps=1e-8) * tails[OF_ADS]).sum(dim=1)
        assert torch.allclose(cosines(heads, translation, tails, OF_ADS, 1e-8), expected, atol=1e-12)


def test_steps_of_tables_are_those_of_torch(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, rows = [], torch.tensor([3, 1, 3, 8, 0, 1, 3])
    for asked in (level, "torch"):
        monkeypatch.setenv(VARIABLE, asked)
        torch.manual_seed(8)
        table = nn.Parameter(torch.randn(9, 12))
        optimizer = RowwiseAdagrad([table], 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (F.embedding(rows, table, sparse=True).square() * torch.randn(7, 12)).sum().backward()
            optimizer.step()
        tables.append((table.detach(), optimizer.state[table]["sum"]))
    (found, squares), (expected, expected_squares) = tables
    assert torch.allclose(found, expected, atol=1e-6) and torch.allclose(squares, expected_squares, rtol=1e-5)
    assert (squares == 0).sum() == 5


@settings(deadline=None, max_examples=50)
@given(keys=st.lists(st.sampled_from([0, 1, -1, 5, 1 << 32, 2 << 32, -(1 << 63), (1 << 63) - 1]), max_size=60))
@pytest.mark.parametrize("asked", possible_levels())
def test_keys_get_one_number_each(asked: str, keys: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, asked)
        firsts, places = distinct(torch.tensor(keys, dtype=torch.int64))
    assert [keys[firsts[place]] for place in places] == keys
    assert len(firsts) == len(set(keys)) == len({keys[first] for first in firsts})


def test_what_kernels_cannot_take_is_refused_or_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    half = torch.zeros(2, dtype=torch.bfloat16)
    assert not computes(half) and not computes(half, torch.zeros(2)), "mixed, as under autocast"
    monkeypatch.setenv(VARIABLE, "torch")
    assert not computes(torch.zeros(2))


def test_types_that_do_not_fit_are_refused(level: str) -> None:
    given = lists(timed=True)
    query, *others = given.parameters
    assert query is not None
    with pytest.raises(TypeError, match="float32 beside torch.float64"):
        HeldAgainst.apply(query.float(), *others, given.inputs)
