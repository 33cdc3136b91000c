"""The fused step is held to the reference: same batch, same negatives, same gradients, in double precision."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.entitylist import EntityList
from torchbiggraph.model import SimpleEmbedding
from torchbiggraph.types import Side

from artifacts.graph import EntityType, Graph, Relation
from pbg_transra.backends.adagrad import HogwildAdagrad
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.fused.batches import Batch, Batcher
from pbg_transra.backends.fused.kernels import Kernels, kernels_of
from pbg_transra.backends.fused.layout import Buffers
from pbg_transra.backends.fused.levels import possible_levels
from pbg_transra.backends.fused.objective import make_objective
from pbg_transra.backends.fused.processor import kinds_of
from pbg_transra.backends.fused.projection import Spaces
from pbg_transra.backends.fused.relations import Relations
from pbg_transra.backends.fused.step import Gradients, gradients
from pbg_transra.backends.reference import distance_from_identity
from pbg_transra.config import ANCHORED, ModelConfig, Similarity
from pbg_transra.pbg.embedder import TransRAEmbedder, make_embedder
from pbg_transra.pbg.losses import make_loss

LEVELS = possible_levels()
# Those that multiply and add with one rounding: where a negative is the positive once more, what the others leave of
# scores that cancel can exceed a bound on the sums.
ROUND_ONCE = tuple(level for level in LEVELS if level in ("avx512", "avx2"))
USERS, PINS = 9, 7


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def graph(tail_types: list[str]) -> Graph:
    return Graph(
        entity_types=(EntityType("user", (USERS,)), EntityType("pin", (PINS,))),
        relations=tuple(
            Relation(f"r{number}", "user", kind, "onsite", {"train": 1}) for number, kind in enumerate(tail_types)
        ),
        consent={},
        window=(None, None),
    )


@dataclass(frozen=True)
class Case:
    """A model with random parameters and edges for it."""

    config: ModelConfig
    model: TransRAEmbedder
    edges: Edges


@st.composite
def cases(draw: st.DrawFn) -> Case:
    operator = draw(st.sampled_from(["transra", "transra_untied", "transr", "transe"]))
    tail_types = draw(st.lists(st.sampled_from(["user", "pin"]), min_size=1, max_size=4))
    batch_negatives = draw(st.integers(0, 4))
    tail_bias = operator in ANCHORED and draw(st.booleans())
    config = ModelConfig(
        operator=operator,
        anchors=("r0",) if operator in ("transra", "transra_untied") else (),
        dimension=draw(st.one_of(st.integers(1, 40), st.sampled_from([64, 65, 130, 260]))),
        similarity="dot" if tail_bias else draw(st.sampled_from(get_args(Similarity))),
        scale=draw(st.floats(0.3, 4)),
        loss=draw(st.sampled_from(["softmax", "logistic", "ranking"])),
        margin=draw(st.floats(0, 1)),
        pull=draw(st.sampled_from([0.0, 0.3])),
        regularization=draw(st.sampled_from([0.0, 0.3])),
        tail_bias=tail_bias,
        head_weight=draw(st.sampled_from([0.0, 0.4, 1.0])),
        anchor_translation=operator not in ANCHORED or draw(st.booleans()),
        relation_weights={"r0": draw(st.floats(0.5, 2))},
        batch_size=max(1, batch_negatives) * draw(st.integers(1, 4)),
        batch_negatives=batch_negatives,
        uniform_negatives=draw(st.integers(0 if batch_negatives else 1, 4)),
    )
    torch.manual_seed(draw(st.integers(0, 2**20)))
    model = random_model(graph(tail_types), config)
    return Case(config, model, random_edges(draw(st.integers(1, 30)), tail_types, draw(st.booleans())))


def random_model(world: Graph, config: ModelConfig) -> TransRAEmbedder:
    """All parameters away from their initial values, where gradients could be right by chance."""
    model = make_embedder(world, config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    for kind in world.entity_types:
        table = nn.Parameter(torch.randn(kind.count, config.dimension))
        for side in Side:
            model.set_embeddings(kind.name, table, side)
    return model


def random_edges(count: int, tail_types: list[str], weights: bool) -> Edges:
    relations = torch.randint(len(tail_types), (count,))
    pins = torch.tensor([kind == "pin" for kind in tail_types])[relations]
    tails = torch.where(pins, torch.randint(PINS, (count,)), torch.randint(USERS, (count,)))
    of_edges = torch.rand(count) + 0.5 if weights else None
    return Edges(torch.randint(USERS, (count,)), tails, relations, of_edges, torch.rand(2, count) + 0.5)


@dataclass(frozen=True)
class Drawn:
    """Uniform negatives of a batch, (G, U) of either side."""

    heads: Tensor
    tails: Tensor


def drawn(batch: Batch, model: TransRAEmbedder) -> Drawn:
    heads, tails = tables(batch, model)
    shape = (batch.layout.groups, batch.layout.uniform)
    return Drawn(torch.randint(len(heads), shape), torch.randint(len(tails), shape))


def tables(batch: Batch, model: TransRAEmbedder) -> tuple[nn.Parameter, nn.Parameter]:
    schema = model.relations[int(batch.relations[0])]
    return model.lhs_embs[f"emb_{schema.lhs}"].weight, model.rhs_embs[f"emb_{schema.rhs}"].weight


def reference_loss(case: Case, batch: Batch, negatives: Drawn) -> Tensor:
    """Group by group and edge by edge through the embedder and PBG's losses, for autograd."""
    loss_of, total = make_loss(case.config), torch.zeros(())
    relations = batch.relations.expand(batch.layout.groups).tolist()
    for group, (relation, count) in enumerate(zip(relations, batch.counts.tolist(), strict=True)):
        for side, rows in ((case.model.lhs_embs, negatives.heads), (case.model.rhs_embs, negatives.tails)):
            for module in side.values():
                feed(module, rows[group])
        heads, tails = (EntityList.from_tensor(rows[group, :count]) for rows in (batch.heads, batch.tails))
        scores = case.model(EdgeList(heads, tails, torch.tensor(relation)))
        for edge in range(count):
            weight = case.model.relations[relation].weight
            weight *= 1.0 if batch.weights is None else float(batch.weights[group, edge])
            sides = ((case.config.head_weight, scores.lhs_pos, scores.lhs_neg), (1.0, scores.rhs_pos, scores.rhs_neg))
            for factor, positive, negative in sides:
                total = total + weight * factor * loss_of(positive[edge : edge + 1], negative[edge : edge + 1])
            ends = zip(tables(batch, case.model), (batch.heads, batch.tails), batch.decays, strict=True)
            first = int(case.config.tail_bias)  # a bias is not regularized
            squares = [  # sparse, as the scores read them
                decays[group, edge]
                * functional.embedding(rows[group, edge], vectors, sparse=True)[first:].square().sum()
                for vectors, rows, decays in ends
            ]
            total = total + weight * case.config.regularization * sum(squares)
        total = total + case.config.pull * count * distance_from_identity(case.model.rhs_operators[relation])
    return total


def feed(module: SimpleEmbedding, rows: Tensor) -> None:
    """Lets a table hand out these rows (U,) as the uniform negatives of every chunk."""
    module.sample_entities = lambda chunks, count: module.get(rows.expand(chunks, count))


def fused_gradients(
    case: Case, batch: Batch, negatives: Drawn, kernels: Kernels, relations: Relations, dtype: torch.dtype
) -> tuple[Gradients, Tensor]:
    """The gradients and the rows (N,) that they belong to."""
    heads, tails = tables(batch, case.model)
    rows = torch.cat([part.flatten() for part in (batch.heads, negatives.heads, batch.tails, negatives.tails)])
    half = batch.layout.half
    buffers = Buffers(batch.layout, case.config.dimension, dtype)
    buffers.vectors.copy_(torch.cat([heads.detach()[rows[:half]], tails.detach()[rows[half:]]]))
    of_relations = torch.tensor([r.weight for r in case.model.relations])[batch.relations].unsqueeze(1)
    weights = (of_relations * (torch.ones(batch.heads.shape) if batch.weights is None else batch.weights)).contiguous()
    spaces = relations.spaces(batch.relations)
    spaces = Spaces(tuple(p.to(dtype) for p in spaces.projections), spaces.translations.to(dtype))
    decays = None if batch.decays is None else batch.decays.to(dtype)
    objective = make_objective(case.config)
    return gradients(kernels, objective, buffers, spaces, weights.to(dtype), batch.counts, decays), rows


def dense(values: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_add_(0, rows, values.to(like.dtype))


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_gradients_are_the_references(level: str, case: Case) -> None:
    check(kernels_of(level), case, torch.double)


@pytest.mark.parametrize("level", ROUND_ONCE)
@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_gradients_are_right_in_single_precision(level: str, case: Case) -> None:
    """Vectors have twice as many lanes then.

    Not under l2: a distance near zero, the root of a difference of squares, has few digits left in single precision.
    Nor where a hinge lies so near its corner that rounding decides whether it has a gradient.
    """
    assume(case.config.similarity != "l2" and not near_a_corner(case, 0.01))
    check(kernels_of(level), case, torch.float)


def near_a_corner(case: Case, distance: float) -> bool:
    """Whether a hinge changes sides when the margin changes by `distance`: without, the loss is linear in it."""
    if case.config.loss != "ranking":
        return False
    with torch.random.fork_rng():  # the check draws the same
        return any(has_corner(case, batch, drawn(batch, case.model), distance) for batch, _ in prepared(case))


def has_corner(case: Case, batch: Batch, negatives: Drawn, distance: float) -> bool:
    less, equal, more = (
        float(reference_loss(replace(case, config=moved(case.config, by)), batch, negatives).detach())
        for by in (-distance, 0.0, distance)
    )
    return abs(more - 2 * equal + less) > 1e-6 * (1 + abs(equal))


def moved(config: ModelConfig, by: float) -> ModelConfig:
    return config.model_copy(update={"margin": config.margin + by})


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_each_gradient_in_single_precision_is_near_that_in_double(level: str, case: Case) -> None:
    """Vector by vector, before those of one entity are added up and cancel. Not hinges, whose gradients jump."""
    assume(case.config.similarity != "l2" and case.config.loss != "ranking")
    for batch, relations in prepared(case):
        negatives, kernels = drawn(batch, case.model), kernels_of(level)
        double, single = (
            fused_gradients(case, batch, negatives, kernels, relations, dtype)[0].vectors.double()
            for dtype in (torch.double, torch.float)
        )
        assert float((single - double).abs().max()) <= 2e-2 * (1 + float(double.abs().max()))


def prepared(case: Case) -> Iterator[tuple[Batch, Relations]]:
    relations = Relations(list(case.model.rhs_operators), HogwildAdagrad(case.model.parameters(), lr=0.1))
    batcher = Batcher(kinds_of(case.model, list(case.model.rhs_operators)), case.config)
    for batch in batcher.batches(case.edges):
        yield batch, relations


def check(kernels: Kernels, case: Case, dtype: torch.dtype) -> None:
    for batch, relations in prepared(case):
        negatives = drawn(batch, case.model)
        case.model.zero_grad()
        expected = reference_loss(case, batch, negatives)
        expected.backward()
        found, rows = fused_gradients(case, batch, negatives, kernels, relations, dtype)
        close(found.losses.sum().to(dtype), expected.detach())
        heads, tails = tables(batch, case.model)
        half = batch.layout.half
        by_heads = dense(found.vectors[:half], rows[:half], heads.detach().to(dtype))
        by_tails = dense(found.vectors[half:], rows[half:], tails.detach().to(dtype))
        if heads is tails:
            close(by_heads + by_tails, heads.grad.to_dense())
        else:
            close(by_heads, heads.grad.to_dense())
            close(by_tails, tails.grad.to_dense())
        check_relations(case.model, batch, found)


def check_relations(model: TransRAEmbedder, batch: Batch, found: Gradients) -> None:
    for relation in set(batch.relations.tolist()):
        operator, groups = model.rhs_operators[relation], batch.relations == relation
        if operator.translation.requires_grad:
            close(found.spaces.translations[groups].sum(0), operator.translation.grad)
        names = operator.projection_names
        for name, gradient in zip(names, found.spaces.projections, strict=True):
            close(gradient[groups].sum(0).flatten(), getattr(operator, name).grad)


def close(found: Tensor, expected: Tensor) -> None:
    """In single precision, differences of close vectors have lost digits."""
    if found.dtype == torch.double:
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)
    else:
        assert float((found - expected).abs().max()) <= 5e-3 * (1 + float(expected.abs().max()))
