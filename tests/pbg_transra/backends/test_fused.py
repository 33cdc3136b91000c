"""The fused step is held to the reference: same batch, same negatives, same gradients, in double precision."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple, get_args

import pytest
import torch
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.entitylist import EntityList
from torchbiggraph.model import SimpleEmbedding
from torchbiggraph.types import Side

from artifacts.formats.graph import EntityType, Graph, Relation
from pbg_transra.backends.adagrad import EPSILON, HogwildAdagrad
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.fused.batches import Batch, Batcher
from pbg_transra.backends.fused.kernels import Kernels, kernels_of
from pbg_transra.backends.fused.levels import possible_levels
from pbg_transra.backends.fused.objective import make_objective
from pbg_transra.backends.fused.processor import kinds_of
from pbg_transra.backends.fused.relations import Relations, Stack
from pbg_transra.backends.fused.setting import End, Setting
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
    loss_of, total, edges = make_loss(case.config), torch.zeros(()), batch.padded()
    for group, (relation, count) in enumerate(zip(batch.relations.tolist(), batch.lengths.tolist(), strict=True)):
        for side, rows in ((case.model.lhs_embs, negatives.heads), (case.model.rhs_embs, negatives.tails)):
            for module in side.values():
                feed(module, rows[group])
        heads, tails = (EntityList.from_tensor(rows[group, :count]) for rows in (edges.heads, edges.tails))
        scores = case.model(EdgeList(heads, tails, torch.tensor(relation)))
        for edge in range(count):
            weight = case.model.relations[relation].weight
            weight *= 1.0 if edges.weights is None else float(edges.weights[group, edge])
            sides = ((case.config.head_weight, scores.lhs_pos, scores.lhs_neg), (1.0, scores.rhs_pos, scores.rhs_neg))
            for factor, positive, negative in sides:
                total = total + weight * factor * loss_of(positive[edge : edge + 1], negative[edge : edge + 1])
            ends = zip(tables(batch, case.model), (edges.heads, edges.tails), edges.decays, strict=True)
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


class Found(NamedTuple):
    """A step's losses (G,), and its gradients: by heads and tails and the uniform negatives of either, (n, D), and the
    rows (n,) that they belong to; by the relations' parameters, as their stacks are."""

    losses: Tensor
    by_heads: Tensor
    by_tails: Tensor
    head_rows: Tensor
    tail_rows: Tensor
    by_translations: Tensor
    by_projections: list[Tensor]


def fused_gradients(
    case: Case, batch: Batch, negatives: Drawn, kernels: Kernels, relations: Relations, dtype: torch.dtype
) -> Found:
    """From what a step does to tables in which each vector of the batch has a row of its own."""
    edges, drawn_rows = batch.edges, torch.arange(len(batch.edges), len(batch.edges) + negatives.heads.numel())
    rows = [
        torch.cat(part) for part in ((edges.heads, negatives.heads.flatten()), (edges.tails, negatives.tails.flatten()))
    ]
    rows = [of % len(table) for table, of in zip(tables(batch, case.model), rows, strict=True)]  # other types' edges
    spread = [table.detach()[of].to(dtype) for table, of in zip(tables(batch, case.model), rows, strict=True)]
    ends = [End(vectors.clone(), torch.zeros(len(vectors), dtype=dtype), False) for vectors in spread]
    in_order = torch.arange(len(edges))
    weights, decays = (None if each is None else each.to(dtype) for each in (edges.weights, edges.decays))
    apart = replace(batch, edges=Edges(in_order, in_order, edges.relations, weights, decays))
    before, copied = relations.stacks, copy(relations)
    copied.translations, *copied.projections = (
        Stack(stack.values.to(dtype, copy=True), torch.zeros_like(stack.sums, dtype=dtype)) for stack in before
    )
    copied.lr = 1.0
    of_relations = torch.tensor([r.weight for r in case.model.relations], dtype=dtype)
    setting = Setting(make_objective(case.config), copied, of_relations, 1.0)
    losses = kernels.train_(setting, apart, *ends, (drawn_rows, drawn_rows))
    by_ends = [gradient(old, end.vectors, end.sums.unsqueeze(1)) for old, end in zip(spread, ends, strict=True)]
    by_stacks = [
        gradient(old.values.to(dtype), new.values, new.sums) for old, new in zip(before, copied.stacks, strict=True)
    ]
    return Found(losses, *by_ends, *rows, by_stacks[0], by_stacks[1:])


def gradient(before: Tensor, after: Tensor, sums: Tensor) -> Tensor:
    """By which Adagrad, whose sums were zero, took a step of a learning rate of one."""
    return (before - after) * (sums.sqrt() + EPSILON)


def dense(values: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_add_(0, rows, values.to(like.dtype))


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_gradients_are_the_references(case: Case) -> None:
    check(LEVELS, case, torch.double)


@pytest.mark.parametrize("level", ROUND_ONCE)
@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_gradients_are_right_in_single_precision(level: str, case: Case) -> None:
    """Vectors have twice as many lanes then.

    Not under l2: a distance near zero, the root of a difference of squares, has few digits left in single precision.
    Nor where a hinge lies so near its corner that rounding decides whether it has a gradient.
    """
    assume(case.config.similarity != "l2" and not near_a_corner(case, 0.01))
    check([level], case, torch.float)


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


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_each_gradient_in_single_precision_is_near_that_in_double(case: Case) -> None:
    """Vector by vector, before those of one entity are added up and cancel. Not hinges, whose gradients jump."""
    assume(case.config.similarity != "l2" and case.config.loss != "ranking")
    for (batch, relations), level in product(prepared(case), LEVELS):
        note(f"kernels: {level}")
        negatives, kernels = drawn(batch, case.model), kernels_of(level)
        found = [
            fused_gradients(case, batch, negatives, kernels, relations, dtype) for dtype in (torch.double, torch.float)
        ]
        double, single = (torch.cat([each.by_heads, each.by_tails]).double() for each in found)
        assert float((single - double).abs().max()) <= 2e-2 * (1 + float(double.abs().max()))


@pytest.mark.parametrize("similarity", get_args(Similarity))
@pytest.mark.parametrize("loss", ["softmax", "logistic", "ranking"])
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_not_a_number_shows_in_the_loss_and_stays_in_its_batch(
    level: str, loss: str, similarity: Similarity
) -> None:
    """The memory that a step works in is kept: what a batch that has diverged left there is nobody's."""
    kernels = kernels_of(level)
    for batch_negatives in (0, 5):
        config = ModelConfig(
            operator="transe",
            dimension=3,
            similarity=similarity,
            loss=loss,
            batch_size=5,
            batch_negatives=batch_negatives,
            uniform_negatives=2,
        )
        for count, spoilt in ((5, True), (1, False)):
            torch.manual_seed(count)
            case = Case(config, random_model(graph(["pin"]), config), random_edges(count, ["pin"], False))
            for batch, relations in prepared(case):
                for table in tables(batch, case.model) if spoilt else ():
                    table.detach().mul_(torch.nan)
                negatives = drawn(batch, case.model)
                found = fused_gradients(case, batch, negatives, kernels, relations, torch.double)
                assert found.losses.isfinite().all() == (not spoilt)
                if not spoilt:
                    expected = fused_gradients(case, batch, negatives, kernels_of("torch"), relations, torch.double)
                    close(found.by_heads, expected.by_heads)
                    close(found.by_tails, expected.by_tails)


def prepared(case: Case) -> Iterator[tuple[Batch, Relations]]:
    relations = Relations(list(case.model.rhs_operators), HogwildAdagrad(case.model.parameters(), lr=0.1))
    batcher = Batcher(kinds_of(case.model, list(case.model.rhs_operators)), case.config)
    for batch in batcher.batches(case.edges):
        yield batch, relations


def check(levels: Sequence[str], case: Case, dtype: torch.dtype) -> None:
    """Holds the kernels of all levels to what autograd says once."""
    for batch, relations in prepared(case):
        negatives = drawn(batch, case.model)
        case.model.zero_grad()
        expected = reference_loss(case, batch, negatives)
        expected.backward()
        for level in levels:
            note(f"kernels: {level}")
            found = fused_gradients(case, batch, negatives, kernels_of(level), relations, dtype)
            close(found.losses.sum().to(dtype), expected.detach())
            check_vectors(case.model, batch, found, dtype)
            check_relations(case.model, batch, relations, found)


def check_vectors(model: TransRAEmbedder, batch: Batch, found: Found, dtype: torch.dtype) -> None:
    heads, tails = tables(batch, model)
    by_heads = dense(found.by_heads, found.head_rows, heads.detach().to(dtype))
    by_tails = dense(found.by_tails, found.tail_rows, tails.detach().to(dtype))
    if heads is tails:
        close(by_heads + by_tails, heads.grad.to_dense())
    else:
        close(by_heads, heads.grad.to_dense())
        close(by_tails, tails.grad.to_dense())


def check_relations(model: TransRAEmbedder, batch: Batch, relations: Relations, found: Found) -> None:
    for relation in set(batch.relations.tolist()):
        operator, row = model.rhs_operators[relation], relations.rows[relation]
        if operator.translation.requires_grad:
            close(found.by_translations[relation], operator.translation.grad)
        else:
            assert not found.by_translations[relation].any()
        for name, by_projection in zip(operator.projection_names, found.by_projections, strict=False):
            close(by_projection[row], getattr(operator, name).grad)


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=60, deadline=None)
@given(case=cases(), held=st.booleans())
def test_a_step_moves_what_adagrad_moves(level: str, case: Case, held: bool) -> None:
    """Rows that repeat within a batch, on one side or on both of one table, and relations that do, move once."""
    for batch, relations in prepared(case):
        negatives = drawn(batch, case.model)
        case.model.zero_grad()
        reference_loss(case, batch, negatives).backward()
        parameters = tables(batch, case.model)
        values = {id(table): table.detach().clone() for table in parameters}
        sums = {key: torch.rand(len(table)) + 0.5 for key, table in values.items()}
        ends = [End(values[id(table)], sums[id(table)], held) for table in parameters]
        expected = {}
        for table in parameters:
            by_table = table.grad.to_dense()
            by_table[:, 0].masked_fill_(torch.tensor(held), 0)
            total = sums[id(table)] + by_table.square().mean(1)
            expected[id(table)] = table.detach() - 0.1 * by_table / (total.sqrt() + EPSILON).unsqueeze(1), total
        of_relations = torch.tensor([r.weight for r in case.model.relations])
        moved = moved_relations(case.model, batch, relations)
        setting = Setting(make_objective(case.config), relations, of_relations, 0.1)
        level_kernels = kernels_of(level)
        level_kernels.train_(setting, batch, *ends, (negatives.heads.flatten(), negatives.tails.flatten()))
        for key, (vectors, total) in expected.items():
            close(values[key], vectors)
            close(sums[key], total)
        for stack, after, total in moved:
            close(stack.values, after)
            close(stack.sums, total)


def moved_relations(model: TransRAEmbedder, batch: Batch, relations: Relations) -> list[tuple[Stack, Tensor, Tensor]]:
    """Stacks, and where Adagrad at a rate of 0.1 leads them and their sums, which become one here; other relations than
    the batch's stay."""
    found = []
    for number, stack in enumerate(relations.stacks):
        by = torch.zeros_like(stack.values)
        for relation in set(batch.relations.tolist()):
            operator = model.rhs_operators[relation]
            names = ("translation", *operator.projection_names)
            row = relations.rows[relation] if number else relation
            if number < len(names) and getattr(operator, names[number]).requires_grad:
                by[row] = getattr(operator, names[number]).grad
        total = stack.sums.fill_(1) + by.square()
        found.append((stack, stack.values - 0.1 * by / (total.sqrt() + EPSILON), total))
    return found


def close(found: Tensor, expected: Tensor) -> None:
    """In single precision, differences of close vectors have lost digits."""
    if found.dtype == torch.double:
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)
    else:
        assert float((found - expected).abs().max()) <= 5e-3 * (1 + float(expected.abs().max()))
